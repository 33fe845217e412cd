/* libarchive, loaded when it is first needed (base/dl.h). Include this instead of its own headers
 * and use the functions by their names; archive_lib_need() comes first. A function that is not in
 * the list is an error of the linker: add it. */
#pragma once

#include <archive.h>
#include <archive_entry.h>

#define ARCHIVE_FUNCTIONS(X)                                                                       \
    X(archive_entry_filetype)                                                                      \
    X(archive_entry_gid)                                                                           \
    X(archive_entry_hardlink)                                                                      \
    X(archive_entry_mtime)                                                                         \
    X(archive_entry_mtime_is_set)                                                                  \
    X(archive_entry_mtime_nsec)                                                                    \
    X(archive_entry_pathname)                                                                      \
    X(archive_entry_perm)                                                                          \
    X(archive_entry_rdevmajor)                                                                     \
    X(archive_entry_rdevminor)                                                                     \
    X(archive_entry_size)                                                                          \
    X(archive_entry_size_is_set)                                                                   \
    X(archive_entry_symlink)                                                                       \
    X(archive_entry_uid)                                                                           \
    X(archive_entry_xattr_next)                                                                    \
    X(archive_entry_xattr_reset)                                                                   \
    X(archive_errno)                                                                               \
    X(archive_error_string)                                                                        \
    X(archive_read_data_block)                                                                     \
    X(archive_read_free)                                                                           \
    X(archive_read_new)                                                                            \
    X(archive_read_next_header)                                                                    \
    X(archive_read_open)                                                                           \
    X(archive_read_open_fd)                                                                        \
    X(archive_read_support_filter_bzip2)                                                           \
    X(archive_read_support_filter_gzip)                                                            \
    X(archive_read_support_filter_xz)                                                              \
    X(archive_read_support_filter_zstd)                                                            \
    X(archive_read_support_format_empty)                                                           \
    X(archive_read_support_format_raw)                                                             \
    X(archive_read_support_format_tar)                                                             \
    X(archive_set_error)

struct archive_lib {
#define X(f) typeof(f) *f;
    ARCHIVE_FUNCTIONS(X)
#undef X
};
extern struct archive_lib archive_lib;

/* Any thread, any number of times. */
void archive_lib_need(void);

#ifndef ARCHIVE_LAZY_IMPL
#define archive_entry_filetype            archive_lib.archive_entry_filetype
#define archive_entry_gid                 archive_lib.archive_entry_gid
#define archive_entry_hardlink            archive_lib.archive_entry_hardlink
#define archive_entry_mtime               archive_lib.archive_entry_mtime
#define archive_entry_mtime_is_set        archive_lib.archive_entry_mtime_is_set
#define archive_entry_mtime_nsec          archive_lib.archive_entry_mtime_nsec
#define archive_entry_pathname            archive_lib.archive_entry_pathname
#define archive_entry_perm                archive_lib.archive_entry_perm
#define archive_entry_rdevmajor           archive_lib.archive_entry_rdevmajor
#define archive_entry_rdevminor           archive_lib.archive_entry_rdevminor
#define archive_entry_size                archive_lib.archive_entry_size
#define archive_entry_size_is_set         archive_lib.archive_entry_size_is_set
#define archive_entry_symlink             archive_lib.archive_entry_symlink
#define archive_entry_uid                 archive_lib.archive_entry_uid
#define archive_entry_xattr_next          archive_lib.archive_entry_xattr_next
#define archive_entry_xattr_reset         archive_lib.archive_entry_xattr_reset
#define archive_errno                     archive_lib.archive_errno
#define archive_error_string              archive_lib.archive_error_string
#define archive_read_data_block           archive_lib.archive_read_data_block
#define archive_read_free                 archive_lib.archive_read_free
#define archive_read_new                  archive_lib.archive_read_new
#define archive_read_next_header          archive_lib.archive_read_next_header
#define archive_read_open                 archive_lib.archive_read_open
#define archive_read_open_fd              archive_lib.archive_read_open_fd
#define archive_read_support_filter_bzip2 archive_lib.archive_read_support_filter_bzip2
#define archive_read_support_filter_gzip  archive_lib.archive_read_support_filter_gzip
#define archive_read_support_filter_xz    archive_lib.archive_read_support_filter_xz
#define archive_read_support_filter_zstd  archive_lib.archive_read_support_filter_zstd
#define archive_read_support_format_empty archive_lib.archive_read_support_format_empty
#define archive_read_support_format_raw   archive_lib.archive_read_support_format_raw
#define archive_read_support_format_tar   archive_lib.archive_read_support_format_tar
#define archive_set_error                 archive_lib.archive_set_error
#endif
