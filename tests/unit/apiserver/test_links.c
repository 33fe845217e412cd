/* Links of pages that come through a proxy. */
#include "apiserver/front/links.h"
#include "test.h"

#define P "/api/v1/namespaces/n/pods/web/proxy"

static const struct links_base base = {.prefix = STR(P),
                                       .server = STR("10.0.0.7:80"),
                                       .bare = STR("10.0.0.7"),
                                       .client = STR("localhost:8001")};

static void urls(void **state)
{
    static const struct {
        const char *url, *want;
    } rows[] = {
        {"/", P "/"},
        {"/a/b?c=/d#e", P "/a/b?c=/d#e"},
        {"http://10.0.0.7/a", P "/a"},
        {"https://10.0.0.7:80/a/", P "/a/"},
        {"//10.0.0.7/a", P "/a"},
        {"http://localhost:8001/a", "http://localhost:8001" P "/a"},
        {"HTTP://LOCALHOST:8001/a", "HTTP://LOCALHOST:8001" P "/a"},
        {P "/a", P "/a"},
        {"http://10.0.0.7:80" P "/a", P "/a"},
        {"a/b", "a/b"},
        {"../b", "../b"},
        {"?c", "?c"},
        {"#e", "#e"},
        {"", ""},
        {"http://10.0.0.7", "http://10.0.0.7"},
        {"http://10.0.0.7:81/a", "http://10.0.0.7:81/a"},
        {"http://other.example/a", "http://other.example/a"},
        {"http://me@10.0.0.7/a", "http://me@10.0.0.7/a"},
        {"//other.example/a", "//other.example/a"},
        {"///a", "///a"},
        {"mailto:a@b.example", "mailto:a@b.example"},
        {"javascript:/a/.test(b)", "javascript:/a/.test(b)"},
        {"/a\nb", "/a\nb"},
    };
    struct buf b = {0};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_clear(&b);
        links_url(&base, str_z(rows[i].url), &b);
        assert_str(buf_str(&b), rows[i].want);
    }
    buf_fini(&b);
}

static void feed(struct links *l, struct str in, size_t piece, struct buf *out)
{
    links_init(l, &base);
    for (size_t i = 0; i < in.n; i += piece)
        links_feed(l, str_sub(in, i, i + piece), out);
    links_end(l, out);
    links_fini(l);
}

/* In one piece, and byte by byte. */
static void pages(void **state)
{
    static const struct {
        const char *page, *want;
    } rows[] = {
        {"<a href=\"/x\">/x</a>", "<a href=\"" P "/x\">/x</a>"},
        {"<A class=b HREF = '/x'>", "<A class=b HREF = '" P "/x'>"},
        {"<img src=/x.png alt=/y>", "<img src=" P "/x.png alt=/y>"},
        {"<img src=/>", "<img src=" P "/>"},
        {"<form/action=\"/x?a=1&amp;b=2\">", "<form/action=\"" P "/x?a=1&amp;b=2\">"},
        {"<a title='>' href=\"/x\"><a href='y'>", "<a title='>' href=\"" P "/x\"><a href='y'>"},
        {"<a hrefx=\"/x\" data-href=\"/x\"><ab href=\"/x\">",
         "<a hrefx=\"/x\" data-href=\"/x\"><ab href=\"/x\">"},
        {"<iframe longdesc=/l src=/s>", "<iframe longdesc=" P "/l src=" P "/s>"},
        {"<!-- <a href=\"/x\"> --><a href=\"/y\">", "<!-- <a href=\"/x\"> --><a href=\"" P "/y\">"},
        {"<!--><a href=\"/y\">", "<!--><a href=\"" P "/y\">"},
        {"<!-- a --!><a href=/y>", "<!-- a --!><a href=" P "/y>"},
        {"<!doctype html><?x ?><a href=/y>", "<!doctype html><?x ?><a href=" P "/y>"},
        {"<script src=\"/s.js\">a = '<a href=\"/x\">' </scrip></SCRIPT ><a href=/y>",
         "<script src=\"" P "/s.js\">a = '<a href=\"/x\">' </scrip></SCRIPT ><a href=" P "/y>"},
        {"<title><a href=\"/x\"></title><a href=/y>",
         "<title><a href=\"/x\"></title><a href=" P "/y>"},
        {"a < b <a href=/y></a href=/z>", "a < b <a href=" P "/y></a href=/z>"},
        {"<a href=\"/unfinished", "<a href=\"/unfinished"},
        {"<a href", "<a href"},
        {"<a href=><a href=\"\">", "<a href=><a href=\"\">"},
        {"<averyveryverylongname href=/x><a averyveryverylongname=/x>",
         "<averyveryverylongname href=/x><a averyveryverylongname=/x>"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t piece = 1; piece < 100; piece += 98) {
            struct links l;
            struct buf out = {0};
            feed(&l, str_z(rows[i].page), piece, &out);
            assert_str(buf_str(&out), rows[i].want);
            buf_fini(&out);
        }
}

static void a_long_one_is_left(void **state)
{
    struct buf in = {0}, out = {0};
    struct links l;
    (void)state;
    buf_add_lit(&in, "<a href=\"/");
    for (size_t i = 0; i < LINKS_URL_BYTES_MAX; i++)
        buf_add_char(&in, 'x');
    buf_add_lit(&in, "\">");
    feed(&l, buf_str(&in), 1000, &out);
    assert_true(str_eq(buf_str(&in), buf_str(&out)));
    buf_clear(&out);
    buf_add_lit(&in, "<a href=/y>"); /* and the next one is found */
    feed(&l, buf_str(&in), 1000, &out);
    assert_int_equal(out.n, in.n + strlen(P));
    buf_fini(&in);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls),
        cmocka_unit_test(pages),
        cmocka_unit_test(a_long_one_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
