/* The default text: the King James Bible as printed by Debian's bible-kjv (public domain outside the UK), cached. */
#ifndef C4_TOOLS_C4TRAIN_BIBLE_H
#define C4_TOOLS_C4TRAIN_BIBLE_H

#include <c4/c4.h>

/* $XDG_CACHE_HOME/c4/bible-kjv.txt, or ~/.cache/c4/bible-kjv.txt; C4_ERR_OPTION when neither variable is set. */
c4_status c4_bible_path(char *path, size_t bytes);
/* Makes the file unless it exists (about a second). It appears whole, by rename. */
c4_status c4_bible_ensure(const char *path);

#endif
