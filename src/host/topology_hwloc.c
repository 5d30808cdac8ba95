/* The topology by hwloc, opened at run time: libc4 is preloaded into strangers' programs and must not drag it in. */
#include "host/topology_internal.h"

#ifdef C4_HAVE_HWLOC
#include <dlfcn.h>
#include <hwloc.h>

#include "base/status.h"

typedef struct hwloc_functions {
    int (*topology_init)(hwloc_topology_t *topology);
    int (*topology_load)(hwloc_topology_t topology);
    void (*topology_destroy)(hwloc_topology_t topology);
    int (*get_type_depth)(hwloc_topology_t topology, hwloc_obj_type_t type);
    unsigned (*get_nbobjs_by_depth)(hwloc_topology_t topology, int depth);
    hwloc_obj_t (*get_obj_by_depth)(hwloc_topology_t topology, int depth, unsigned index);
    int (*bitmap_next)(hwloc_const_bitmap_t bitmap, int previous);
    unsigned (*get_api_version)(void);
} hwloc_functions;

static bool open_hwloc(void **library, hwloc_functions *hwloc)
{
    /* POSIX's way to turn dlsym's object pointer into a function pointer. */
    struct {
        const char *name;
        void *slot;
    } symbols[] = {{"hwloc_topology_init", &hwloc->topology_init},
                   {"hwloc_topology_load", &hwloc->topology_load},
                   {"hwloc_topology_destroy", &hwloc->topology_destroy},
                   {"hwloc_get_type_depth", &hwloc->get_type_depth},
                   {"hwloc_get_nbobjs_by_depth", &hwloc->get_nbobjs_by_depth},
                   {"hwloc_get_obj_by_depth", &hwloc->get_obj_by_depth},
                   {"hwloc_bitmap_next", &hwloc->bitmap_next},
                   {"hwloc_get_api_version", &hwloc->get_api_version}};
    *library = dlopen("libhwloc.so.15", RTLD_LAZY | RTLD_LOCAL);
    if (!*library)
        return false;
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        *(void **)symbols[i].slot = dlsym(*library, symbols[i].name);
        if (!*(void **)symbols[i].slot)
            return false;
    }
    /* The structs are laid out by the major version. */
    return hwloc->get_api_version() >> 16 == HWLOC_API_VERSION >> 16;
}

static int package_of(hwloc_obj_t object)
{
    while (object && object->type != HWLOC_OBJ_PACKAGE)
        object = object->parent;
    return object ? (int)object->os_index : -1;
}

static int numa_of(const hwloc_functions *hwloc, hwloc_obj_t object)
{
    return object->nodeset ? hwloc->bitmap_next(object->nodeset, -1) : -1;
}

static c4_status add_core(const hwloc_functions *hwloc, hwloc_obj_t core, const bool *allowed, c4_topology *topology)
{
    bool opened = false;
    for (int cpu = hwloc->bitmap_next(core->cpuset, -1); cpu >= 0; cpu = hwloc->bitmap_next(core->cpuset, cpu)) {
        if (cpu >= C4_TOPOLOGY_MAX_CPUS || !allowed[cpu])
            continue;
        if (!opened)
            C4_TRY(c4_topology_add_core(topology, package_of(core), numa_of(hwloc, core)));
        opened = true;
        C4_TRY(c4_topology_add_cpu(topology, cpu));
    }
    return C4_OK;
}

static c4_status read_cores(const hwloc_functions *hwloc, hwloc_topology_t tree, const bool *allowed,
                            c4_topology *topology)
{
    int depth = hwloc->get_type_depth(tree, HWLOC_OBJ_CORE);
    if (depth < 0) /* some virtual machines tell no cores */
        depth = hwloc->get_type_depth(tree, HWLOC_OBJ_PU);
    for (unsigned i = 0; i < hwloc->get_nbobjs_by_depth(tree, depth); i++)
        C4_TRY(add_core(hwloc, hwloc->get_obj_by_depth(tree, depth, i), allowed, topology));
    for (unsigned i = 0; i < hwloc->get_nbobjs_by_depth(tree, HWLOC_TYPE_DEPTH_NUMANODE); i++) {
        hwloc_obj_t node = hwloc->get_obj_by_depth(tree, HWLOC_TYPE_DEPTH_NUMANODE, i);
        for (size_t j = 0; j < topology->nnuma; j++)
            if (topology->numa[j].index == (int)node->os_index)
                topology->numa[j].bytes = node->attr->numanode.local_memory;
    }
    return topology->ncores ? C4_OK : C4_ERR_UNSUPPORTED;
}

c4_status c4_topology_read_hwloc(c4_topology *topology, const bool *allowed)
{
    void *library = NULL;
    hwloc_functions hwloc;
    hwloc_topology_t tree;
    c4_status status = C4_ERR_UNSUPPORTED;
    if (open_hwloc(&library, &hwloc) && hwloc.topology_init(&tree) == 0) {
        if (hwloc.topology_load(tree) == 0)
            status = read_cores(&hwloc, tree, allowed, topology);
        hwloc.topology_destroy(tree);
    }
    if (library)
        dlclose(library);
    return status;
}

#else

c4_status c4_topology_read_hwloc(c4_topology *topology, const bool *allowed)
{
    (void)topology;
    (void)allowed;
    return C4_ERR_UNSUPPORTED;
}

#endif
