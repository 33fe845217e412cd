/* Elements of nftables sets and maps by netlink, for what changes often: libnftables parses text
 * and builds trees, some ten microseconds and a kilobyte an element; here an element is a few dozen
 * bytes of a message. Tables, chains and rules are made by sys/nft.h.
 *
 * Values are as the kernel has them: fields of a concatenation padded to 4 bytes each, addresses
 * and ports in network order, integers (classid, mark) in the host's. */
#pragma once

#include "sys/netlink.h"

#define NFT_ELEM_KEY_MAX   20
#define NFT_ELEM_DATA_MAX  8
#define NFT_CHAIN_NAME_MAX 40

enum nft_data {
    NFT_DATA_NONE, /* an element of a set */
    NFT_DATA_BYTES,
    NFT_DATA_GOTO, /* chain */
    NFT_DATA_DROP,
};

struct nft_elem {
    uint8_t key[NFT_ELEM_KEY_MAX];
    uint8_t key_end[NFT_ELEM_KEY_MAX]; /* with has_end: last key of the interval, inclusive */
    uint8_t data[NFT_ELEM_DATA_MAX];   /* NFT_DATA_BYTES */
    const char *chain;                 /* NFT_DATA_GOTO; borrowed */
    uint8_t key_bytes, data_bytes;
    uint8_t what; /* enum nft_data */
    bool has_end;
};

struct nft_elem_change {
    const char *set; /* borrowed, like the elements */
    const struct nft_elem *elems;
    size_t n;
    bool remove;
};

/* The socket all calls take; closed with nl_close. Keep it: closing one makes the kernel wait until
 * what earlier transactions removed is freed, some ten milliseconds. */
int nl_open_nft(struct nl **ret) MUST_CHECK;

/* All of it or nothing, in the order given, in table `table` of family ip. -ENOENT: no such table,
 * set, or element to remove; -EEXIST: the element is there with other data. Adding what is there
 * already is no error. */
int nft_elems_apply(struct nl *nl, const char *table, const struct nft_elem_change *changes,
                    size_t n) MUST_CHECK;

/* e and its chain are borrowed for the call. */
typedef void (*nft_elem_fn)(void *arg, const struct nft_elem *e);
int nft_elems_list(struct nl *nl, const char *table, const char *set, nft_elem_fn fn,
                   void *arg) MUST_CHECK;
typedef void (*nft_chain_fn)(void *arg, const char *chain);
/* A table that is not there has no chains. */
int nft_chains_list(struct nl *nl, const char *table, nft_chain_fn fn, void *arg) MUST_CHECK;
