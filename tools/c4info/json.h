/* What the JSON output of all commands shares. */
#ifndef C4_TOOLS_C4INFO_JSON_H
#define C4_TOOLS_C4INFO_JSON_H

#include <cjson/cJSON.h>

/* With schema_version, command and version. */
cJSON *c4info_json_document(const char *command);
/* A new object at the end of the array. */
cJSON *c4info_json_item(cJSON *array);
/* Prints and frees; the exit status. */
int c4info_json_finish(cJSON *root);

#endif
