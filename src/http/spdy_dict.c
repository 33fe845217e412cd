/* The dictionary with which both ends of SPDY/3 seed zlib. It is a constant of the protocol,
 * published in draft-mbelshe-httpbis-spdy-00, 2.6.10.1: words, each behind its length in four
 * bytes, then running text. Its Adler-32, which zlib sends, is e3c6a7c2 (a test checks it). */
#include "http/spdy_frame.h"

/* clang-format off */
#define W(n, word) "\0\0\0" n word

const char spdy_dictionary[SPDY_DICTIONARY_BYTES + 1] =
    W("\7", "options") W("\4", "head") W("\4", "post") W("\3", "put") W("\6", "delete")
    W("\5", "trace") W("\6", "accept") W("\16", "accept-charset") W("\17", "accept-encoding")
    W("\17", "accept-language") W("\15", "accept-ranges") W("\3", "age") W("\5", "allow")
    W("\15", "authorization") W("\15", "cache-control") W("\12", "connection")
    W("\14", "content-base") W("\20", "content-encoding") W("\20", "content-language")
    W("\16", "content-length") W("\20", "content-location") W("\13", "content-md5")
    W("\15", "content-range") W("\14", "content-type") W("\4", "date") W("\4", "etag")
    W("\6", "expect") W("\7", "expires") W("\4", "from") W("\4", "host") W("\10", "if-match")
    W("\21", "if-modified-since") W("\15", "if-none-match") W("\10", "if-range")
    W("\23", "if-unmodified-since") W("\15", "last-modified") W("\10", "location")
    W("\14", "max-forwards") W("\6", "pragma") W("\22", "proxy-authenticate")
    W("\23", "proxy-authorization") W("\5", "range") W("\7", "referer") W("\13", "retry-after")
    W("\6", "server") W("\2", "te") W("\7", "trailer") W("\21", "transfer-encoding")
    W("\7", "upgrade") W("\12", "user-agent") W("\4", "vary") W("\3", "via") W("\7", "warning")
    W("\20", "www-authenticate") W("\6", "method") W("\3", "get") W("\6", "status")
    W("\6", "200 OK") W("\7", "version") W("\10", "HTTP/1.1") W("\3", "url") W("\6", "public")
    W("\12", "set-cookie") W("\12", "keep-alive") W("\6", "origin")
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Una"
    "uthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service"
    " UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, "
    "Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,applicat"
    "ion/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf"
    "-8charset=iso-8859-1,utf-,*,enq=0.";
