#include "tools/c4train/message.h"

#include <stdarg.h>
#include <stdio.h>

static void print(const char *format, va_list arguments)
{
    char text[1024];
    vsnprintf(text, sizeof text, format, arguments);
    fprintf(stderr, "c4train: %s\n", text);
}

c4_status c4_train_fail(c4_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print(format, arguments);
    va_end(arguments);
    return status;
}

void c4_train_note(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print(format, arguments);
    va_end(arguments);
}
