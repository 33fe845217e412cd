/* nftables through libnftables. One string of commands is one kernel transaction: all of it or
 * none. */
#pragma once

#include "base/base.h"
#include "base/error.h"

/* Runs commands in nft's own language (see nft(8)); errors carry nft's message. Checked and applied
 * as one transaction, in the network namespace of the thread. -ENOENT, -EEXIST where nft says so,
 * else -EINVAL or -EIO. */
int nft_run(const char *commands, struct error *err) MUST_CHECK;
/* The same, and what it printed (heap), e.g. for "list table ..."; json: in nft's JSON. */
int nft_query(const char *commands, bool json, char **ret_output, struct error *err) MUST_CHECK;
