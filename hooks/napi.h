/*
 * What we use of Node-API, the C interface of Node to native add-ons, which is stable for ever ("ABI stability", Node-API
 * documentation, version 3). Declared here, so that the object builds where Node is not installed; found by name when an add-on is
 * asked for, so that it loads where there is none.
 */
#ifndef TRACESHIM_NAPI_H
#define TRACESHIM_NAPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct napi_env_s;
struct napi_value_s;
struct napi_ref_s;
struct napi_info_s;

typedef struct napi_env_s *napi_env;
typedef struct napi_value_s *napi_value;
typedef struct napi_ref_s *napi_ref;
typedef struct napi_info_s *napi_info;
typedef int napi_status; /* 0: napi_ok */

typedef napi_value napi_callback(napi_env env, napi_info info);

/* node_api.h, struct napi_module: what an add-on of the self-registering kind hands over. */
struct napi_module {
	int nm_version; /* 1 */
	unsigned int nm_flags;
	const char *nm_filename;
	napi_value (*nm_register_func)(napi_env env, napi_value exports);
	const char *nm_modname;
	void *nm_priv;
	void *reserved[4];
};

#define NAPI_AUTO_LENGTH ((size_t)-1)
#define NAPI_INT32_ARRAY 5 /* napi_typedarray_type */
#define NAPI_FLOAT64_ARRAY 8

/* X(result, name, parameters) */
/* clang-format off */
#define NAPI_FUNCTIONS(X) \
	X(void, napi_module_register, (struct napi_module *module)) \
	X(napi_status, napi_create_function, (napi_env env, const char *name, size_t len, napi_callback *call, \
	                                      void *data, napi_value *result)) \
	X(napi_status, napi_set_named_property, (napi_env env, napi_value object, const char *name, napi_value value)) \
	X(napi_status, napi_get_cb_info, (napi_env env, napi_info info, size_t *argc, napi_value *argv, \
	                                  napi_value *this_arg, void **data)) \
	X(napi_status, napi_get_value_int32, (napi_env env, napi_value value, int32_t *result)) \
	X(napi_status, napi_get_value_string_latin1, (napi_env env, napi_value value, char *buf, size_t size, \
	                                              size_t *result)) \
	X(napi_status, napi_get_value_string_utf8, (napi_env env, napi_value value, char *buf, size_t size, \
	                                            size_t *result)) \
	X(napi_status, napi_get_buffer_info, (napi_env env, napi_value value, void **data, size_t *len)) \
	X(napi_status, napi_create_int32, (napi_env env, int32_t value, napi_value *result)) \
	X(napi_status, napi_create_string_latin1, (napi_env env, const char *text, size_t len, napi_value *result)) \
	X(napi_status, napi_create_buffer_copy, (napi_env env, size_t len, const void *data, void **copy, \
	                                         napi_value *result)) \
	X(napi_status, napi_create_arraybuffer, (napi_env env, size_t len, void **data, napi_value *result)) \
	X(napi_status, napi_create_typedarray, (napi_env env, int type, size_t length, napi_value buffer, \
	                                        size_t offset, napi_value *result)) \
	X(napi_status, napi_create_reference, (napi_env env, napi_value value, uint32_t count, napi_ref *result)) \
	X(napi_status, napi_add_env_cleanup_hook, (napi_env env, void (*call)(void *arg), void *arg))
/* clang-format on */

#endif
