/* Marks the definitions that libc4's map file exports; everything else is hidden. */
#ifndef C4_BASE_EXPORT_H
#define C4_BASE_EXPORT_H
#define C4_API __attribute__((visibility("default")))
#endif
