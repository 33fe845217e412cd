/* What the reviews of access must say to be answered. Each adds causes to err. */
#pragma once

#include "api/tables.gen.h"
#include "base/error.h"

void review_check_access(const struct api_subject_access_review *r, struct error *err);
void review_check_self(const struct api_self_subject_access_review *r, struct error *err);
void review_check_local(const struct api_local_subject_access_review *r, struct error *err);
