/* Made with node:crypto: public keys, and a token by each algorithm. */
#pragma once

static const char jwks[] =
    "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"vQSSBlFpGH_b3K3f7QG9O8aEFttJIW1F8V1ePhbGjXAgOBTk"
    "vnzqUKJTzxyNwN2VNqLmrQ7NgY6-z8j4SosKEpuWwd0cavQrjOHhxmArGhEBKtlCctbzgOUahddXIx6Z2QaR"
    "P8OKKmn8Fie4f9qOHvo0plKZ6zjde25NLcQWnjYls4FtgeH5-Ev48JGp-BIS036eIbhSCIknt58BgHPeMxDv"
    "5-5k53yFJhvzg3OJUblkSpYR0EpOEdQiG7oxFJEwR9c0_tfNBh1Po1vGYLUUHMvfkvvOV0HMY6o1KISZGI9G"
    "VfTT85kwCzQ2xAbm7JYyb2cnJqaduHZMQt5dADZ_9w\",\"e\":\"AQAB\",\"kid\":\"rsa\",\"use\":"
    "\"sig\"},{\"kty\":\"EC\",\"x\":\"ogbxTFnUsOvHNEBDSePbcc6P9YLPQXdYwwKmtWc4z5s\",\"y\""
    ":\"6BlUjmSuK3K-dL7S_emcf4hGLyV_dJ2KRNan7DPRSfM\",\"crv\":\"P-256\",\"kid\":\"ES256\""
    ",\"use\":\"sig\"},{\"kty\":\"EC\",\"x\":\"YQt5zAWNKCThoBFPg86cCFcH25qeFb_tsG-lRCy02x"
    "HvkSlUyAZrhz0Pu0_Zx7Hd\",\"y\":\"jKN9UuND7VCm0Kw3Ss8QFwc9lu7uTqgSwUglkLVya7NjpzjDEeb"
    "7eD5v7WPqd9YQ\",\"crv\":\"P-384\",\"kid\":\"ES384\",\"use\":\"sig\"},{\"kty\":\"EC\""
    ",\"x\":\"AXzUUyiyTaTDqm6pFiazU2YcmJaxzti-33BHyiGa3Hl57dg6YcnI2rMePp8oPdL573Y6gy_00nh"
    "ECOeH-yUpe0_o\",\"y\":\"AdMdqJXA2_2YmZTatcDIyZF131K7-3N24cvCXYr3DtNVfr4F6UUeOj3L_H2h"
    "W3om5pnWwFGTcRu0yOhnnTQxpJfj\",\"crv\":\"P-521\",\"kid\":\"ES512\",\"use\":\"sig\"}]"
    "}";

static const struct {
    const char *alg, *token; /* mary, for k, until 2033 */
} tokens[] = {
    {"RS256", "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlLmNvbSI"
              "sImF1ZCI6ImsiLCJzdWIiOiJtYXJ5IiwiZXhwIjoyMDAwMDAwMDAwfQ.sbZ3u3eFmUoqvPmm8VzaFDIlPpl1"
              "pCAThz6_W0-P_LR4rGc_jJaazAL4TtJrHkTjuNr4jqT1TiOtD30V8cZWjNTINuJLEqtF_VmEuqq3rms60xJ0"
              "3hMz0slcFNd0RgAm-xacJvEyfjJulEkoLFGtTd704jv0TwjoY9rWfpCavwHFvau586xx4-nkk7c9BPElUPRH"
              "NrWNKeNK-LSFlJbZD0Xy1PIqZ7QhFreO598TIlP5Fm0BaGze76pnw6ZLwgatN-zxE2-pZCaeK6FpP_59KLtB"
              "Iz8urCto6IMzxrIwDXxq1numJBLa3zeM6w2DZlKieSSn88gxT6ve7jTdG4WyEQ"},
    {"RS384", "eyJhbGciOiJSUzM4NCIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlLmNvbSI"
              "sImF1ZCI6ImsiLCJzdWIiOiJtYXJ5IiwiZXhwIjoyMDAwMDAwMDAwfQ.PuAl_odAPfOuBphSv0xDZVLQR0dc"
              "j7FMqlZ-fCQ09qxtyqAA4OG_1MgQyHJHTsXRRtePfVB7PlwX0f93QOX3M_NwkIIHLuYMzOKf19mYGe7V8jvP"
              "G2KpgOrZUc64ejCKkrHEIxvKAKUKtQq5KKYPKojvkyiJ0atB36c7lZ-sIuqjN7nIjPQyAnL61GFBT0vTFwEk"
              "VNsSKmQ587IKKb9w2nG5OXu8Kq44zvWfsZRAgWNl9xo-tH-ZO-kIgEfJhHGhbxNGoHrCX3-nnZTz2wIQk_zB"
              "2szo68k20oseozfTATsb9uL6Ge7yhohlrN3tb1MxbVeZfNhxNFhqSvZVaCrAbg"},
    {"RS512", "eyJhbGciOiJSUzUxMiIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlLmNvbSI"
              "sImF1ZCI6ImsiLCJzdWIiOiJtYXJ5IiwiZXhwIjoyMDAwMDAwMDAwfQ.ZIhiEuicq4Fs67D8dnpePV9h5OP7"
              "mJgrbrcQr2zfRWq_B50VjrKe1tUeadpMOoxZvXoEgiKLnGmHnPmdo4uKUgSZhZ7uuJQWak019lgIhZeSiBoK"
              "o42HihfWkjc1SW9CKwY4BD-kPO6TxSptGlsheKN-OGoe_rNQ1q75f8qe9kn8l2JWIanAy221VIam_bdHEY8y"
              "c-I1BWfSeTRM5vVhrXk4GLoMMGmLskkbQcrDH--TD2oOJ_dlzSvi6TarNqHVHTa_CPKir1WU2LDL3nVJXY8W"
              "Iw7Ai6eAMfzR81mWUJpSvhp4F8g0Y35cL0G-8C3PnmpDv9B_EdUYFG_qo68hHg"},
    {"PS256", "eyJhbGciOiJQUzI1NiIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlLmNvbSI"
              "sImF1ZCI6ImsiLCJzdWIiOiJtYXJ5IiwiZXhwIjoyMDAwMDAwMDAwfQ.cWl3n4Jz81lH8FTZmNaMZloPLYro"
              "DbVczcf2TcsRZEoyWeVNHHqyRrH_oYM4fJEf_U6uawkT0PUp-S1urFcNYhFNsIx8XtF_RuApGrGKmYcbbxEN"
              "Z8F5s2YhaUcCToB2hnqE_x5SfxQf1t5K9_KauoI5o7YmLTPyEexCrOXbig7AofxRf1NeBfbUyEdQd7AWDP0a"
              "ewkv8UJLXKOjQkBfXt5nPwznlW83dkDOnnkCS3KB4GGj_OfUZm0sAmJvb-KvdBSj0hhKytR69kK1hJMlXbFv"
              "2kO8bpNi2mbVBJoYZJkaDmYyrncwvJfCxpx5u-EnOa2hNjvf4K3UqQfwNCq0Mw"},
    {"PS384", "eyJhbGciOiJQUzM4NCIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlLmNvbSI"
              "sImF1ZCI6ImsiLCJzdWIiOiJtYXJ5IiwiZXhwIjoyMDAwMDAwMDAwfQ.XoyeGCtkKk5z4z9uD7PD2UH_eKcs"
              "C7BcUnxBoSewjM1OUXIg_IXVwi1f2TGsEobY0aomxHJsN6qaTAARVwSzlBi0vsnIWzmc4knEuYrN8vOLm6vm"
              "AFF3IBQWysyZHhvIj_dJjfCSJ82alZbzlN1L8iaXuGHnNv6GU3mEj06shlcmpNDEpVikb62OKLOETjhoQlV_"
              "pEkXpOhBiNRV0h9Ii6CJ8uSyX3KwisW66SpZXQGMKE80842GWQxhlf1VxKa0BZDmfLB8UkAynZ7AmhhO6gmV"
              "FFyDevenSwPENRaCZwF55br0bk72zUXgompqZwpqDT9PhkpLX-_ocLI0fLgvTg"},
    {"PS512", "eyJhbGciOiJQUzUxMiIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlLmNvbSI"
              "sImF1ZCI6ImsiLCJzdWIiOiJtYXJ5IiwiZXhwIjoyMDAwMDAwMDAwfQ.otviqstrTvcZvi0WOpQ7xA2JW1vs"
              "XlT-tu4sGENHNUW3m5gtos3Gmq-rfUNRrsyMfzqTn42mpLBkv3P5Syi1IT4Qxg8WPQDR3-yIx5lTzEdSBy7w"
              "lXw2-9zITG7uYn1u5L-KHhTt_52jbaYwj-W14Z8dapHPmxTr_9kvqJocT10vs6_fPes5RVsJfp2N2RXyN7D5"
              "2o1U3EJWU-oo0BA-APWUmLfRaYbS9wW7PjwxAc_PmJrsnr10os7CFTLEU3IGutv-tBp7QbD-6S-2KslsVtud"
              "5oACoL6zgURSPhnhO4jzs6xdxjwY-C9Ym3WiYPREb5ejLvaAfvS_leeBRR77rw"},
    {"ES256", "eyJhbGciOiJFUzI1NiIsImtpZCI6IkVTMjU2In0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlLmNv"
              "bSIsImF1ZCI6ImsiLCJzdWIiOiJtYXJ5IiwiZXhwIjoyMDAwMDAwMDAwfQ.-Awr-u1jE_MZPSvTMXvS93oxR"
              "MltrwX1d9Feku6rAC38T95WPxvHKgF7h7LPKmFsnHc24enmKkMNjAf86K2pJA"},
    {"ES384", "eyJhbGciOiJFUzM4NCIsImtpZCI6IkVTMzg0In0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlLmNv"
              "bSIsImF1ZCI6ImsiLCJzdWIiOiJtYXJ5IiwiZXhwIjoyMDAwMDAwMDAwfQ.Q9_Xa4uK8MhcOwsuAAh6Pw1UP"
              "Nwe0FtjCsn-FtPhRyO2v3-vWnhs-pGiQ84zH3lsMtjPfD4yWbXpmp9mveekKwh-D3-lMCPLKiIauaZxGCMcu"
              "lFKOnt1t9p_0mcLicmy"},
    {"ES512", "eyJhbGciOiJFUzUxMiIsImtpZCI6IkVTNTEyIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlLmNv"
              "bSIsImF1ZCI6ImsiLCJzdWIiOiJtYXJ5IiwiZXhwIjoyMDAwMDAwMDAwfQ.APRZ1QPZIWu2Y-2n-s5HvAZzS"
              "qgGTfRUAs6TwxaVsjrli5ObmeVJiEhdOXllu8CrHu-OFTcNsWdkXdiFzEGdTd1cAC_MkkQuBy9yc6tQ3gh8b"
              "ihgUTwRprgj-xu3YO1_nF2v8z7tQ7ZEavC16HP4vUNj9a7DrJYe8cMcxOSQsYBXxkL1"},
};
