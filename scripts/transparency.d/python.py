"""
CPython's own tests, as Debian packages them (libpython3.11-testsuite): what the interpreter does with sockets, processes,
threads, signals, terminals and files, and what its library makes of them.
"""
import json
import os

from harness import Unit

INTERPRETER = "/usr/bin/python3"
TESTS = "/usr/lib/python3.11/test"
RUNNER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guests", "unittest_cases.py")

# A package of tests is named with its modules' folder; its modules are units of their own, because some take long.
MODULES = """
    test_asynchat test_asyncio/ test_asyncore test_atexit test_audit test_bufio test_builtin test_bz2
    test_c_locale_coercion test_cgi test_cmd_line test_cmd_line_script test_codecs test_compileall test_concurrent_futures
    test_context test_contextlib test_contextlib_async test_coroutines test_ctypes test_dbm test_doctest
    test_docxmlrpc test_eintr test_embed test_ensurepip test_epoll test_exceptions test_faulthandler test_fcntl test_file
    test_file_eintr test_fileinput test_fileio test_fileutils test_fork1 test_ftplib test_gc test_generators test_getpass
    test_glob test_gzip test_hashlib test_http_cookiejar test_http_cookies test_httplib test_httpservers test_imaplib
    test_imp test_importlib/ test_io test_ioctl test_json/ test_largefile test_linecache test_locale test_logging test_lzma
    test_mailbox test_memoryio test_mmap test_multiprocessing_fork test_multiprocessing_forkserver
    test_multiprocessing_main_handling test_multiprocessing_spawn test_netrc test_nntplib test_openpty test_os test_pathlib
    test_pdb test_pickle test_pipes test_pkgutil test_platform test_poll test_popen test_poplib test_posix test_posixpath test_print
    test_profile test_pty test_pwd test_py_compile test_queue test_random test_readline test_regrtest test_repl
    test_resource test_runpy test_sched test_script_helper test_secrets test_select test_selectors test_shelve test_shlex
    test_shutil test_signal test_site test_smtpd test_smtplib test_socket test_socketserver test_ssl test_stat
    test_subprocess test_support test_sys test_syslog test_tarfile test_telnetlib test_tempfile test_thread
    test_threadedtempfile test_threading test_threading_local test_threadsignals test_time test_timeout test_tracemalloc
    test_traceback test_unittest test_univnewlines test_urllib test_urllib2 test_urllib2_localnet test_urllib_response
    test_urlparse test_utf8_mode test_uuid test_venv test_wait3 test_wait4 test_warnings/ test_webbrowser test_wsgiref
    test_xmlrpc test_zipapp test_zipfile test_zipimport test_zlib
""".split()
QUICK = """
    test_asyncio.test_streams test_asyncio.test_unix_events test_bufio test_epoll test_fcntl test_file test_fileio test_ftplib
    test_httplib test_poll test_popen test_poplib test_select test_selectors test_smtplib test_tempfile
    test_urllib2 test_urllib2_localnet test_xmlrpc test_os
""".split()


def modules():
    for name in MODULES:
        if not name.endswith("/"):
            yield name
            continue
        for file in sorted(os.listdir(os.path.join(TESTS, name))):
            if file.startswith("test_") and file.endswith(".py"):
                yield f"{name[:-1]}.{file[:-3]}"


def run_module(run, module, trial=False):
    """The outcomes of one module, and how the process ended."""
    results = os.path.join(run.folder, "results")
    options = ["--trial"] if trial else []
    ended = run.call([INTERPRETER, RUNNER, *options, results, module])
    cases, reasons = {}, {}
    if os.path.exists(results):
        for line in open(results, encoding="utf-8"):
            name, outcome, reason = json.loads(line)
            # A subtest's failure comes before the success of the whole.
            if cases.get(name) not in ("failed", "error"):
                cases[name] = outcome
                reasons[name] = reason
    cases[f"{module}: exit status"] = str(ended.status)
    run.reasons = reasons
    run.said = ended
    return cases


def units(quick):
    for module in QUICK if quick else modules():
        yield Unit(module, lambda run, module=module: run_module(run, f"test.{module}"))
