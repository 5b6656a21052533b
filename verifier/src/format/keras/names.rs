//! Where a name in a configuration leads.

/// Packages whose classes a configuration may name.
const KERAS_PACKAGES: [&str; 6] = ["keras", "tf_keras", "keras_core", "keras_cv", "keras_nlp", "keras_hub"];

/// Libraries of layers for Keras: naming a class of theirs asks for the library and for nothing else.
const COMPANION_PACKAGES: [&str; 11] = [
    "autokeras",
    "keras_tuner",
    "qkeras",
    "tensorflow_addons",
    "tensorflow_decision_forests",
    "tensorflow_hub",
    "tensorflow_model_optimization",
    "tensorflow_probability",
    "tensorflow_recommenders",
    "tensorflow_text",
    "transformers",
];

/// Parts of Keras whose functions are building blocks of models: they compute and do nothing else.
const FUNCTION_MODULES: [&str; 14] = [
    "activations",
    "applications",
    "backend",
    "constraints",
    "distribution",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "nn",
    "ops",
    "optimizers",
    "random",
    "regularizers",
];

/// Functions of Keras that load, fetch, write or switch off protections, wherever they live.
const UNSAFE_FUNCTIONS: [&str; 24] = [
    "clone_model",
    "deserialize_keras_object",
    "disable_safe_mode",
    "enable_unsafe_deserialization",
    "extract_archive",
    "from_json",
    "func_dump",
    "func_load",
    "get_file",
    "import_module",
    "load_img",
    "load_model",
    "load_weights",
    "model_from_config",
    "model_from_json",
    "model_from_yaml",
    "open",
    "run_subprocess",
    "save_img",
    "save_model",
    "save_weights",
    "set_custom_objects",
    "split_dataset",
    "system",
];

/// Python built-ins that evaluate, import, open or reach into objects.
const UNSAFE_BUILTINS: [&str; 20] = [
    "__build_class__",
    "__import__",
    "breakpoint",
    "classmethod",
    "compile",
    "delattr",
    "dir",
    "eval",
    "exec",
    "exit",
    "getattr",
    "globals",
    "help",
    "input",
    "locals",
    "memoryview",
    "open",
    "quit",
    "setattr",
    "vars",
];

/// Classes of TensorFlow itself that stand in configurations: containers and descriptions.
const TENSORFLOW_CLASSES: [&str; 12] = [
    "DType",
    "DictWrapper",
    "ListWrapper",
    "RaggedTensorSpec",
    "SparseTensorSpec",
    "TensorShape",
    "TensorSpec",
    "TypeSpec",
    "VariableSpec",
    "_DictWrapper",
    "_ListWrapper",
    "_TupleWrapper",
];

/// Parts of TensorFlow's functions' names that open files, load code or run Python.
const UNSAFE_TENSORFLOW_PARTS: [&str; 24] = [
    "dtensor",
    "file_io",
    "gen_io_ops",
    "gfile",
    "io_ops",
    "load",
    "load_file_system_library",
    "load_library",
    "load_op_library",
    "loader",
    "matching_files",
    "numpy_function",
    "os",
    "py_func",
    "py_function",
    "raw_ops",
    "read_file",
    "register_filesystem_plugin",
    "saved_model",
    "script_ops",
    "subprocess",
    "summary",
    "sys",
    "write_file",
];

/// Modules of Python's standard library, and packages that run or load code, in the order of their names.
const FOREIGN_MODULES: [&str; 241] = [
    "IPython",
    "_posixsubprocess",
    "abc",
    "aifc",
    "aiohttp",
    "antigravity",
    "argparse",
    "array",
    "ast",
    "asynchat",
    "asyncio",
    "asyncore",
    "atexit",
    "audioop",
    "base64",
    "bdb",
    "binascii",
    "bisect",
    "builtins",
    "bz2",
    "cProfile",
    "calendar",
    "cgi",
    "cgitb",
    "chunk",
    "cloudpickle",
    "cmath",
    "cmd",
    "code",
    "codecs",
    "codeop",
    "collections",
    "colorsys",
    "compileall",
    "concurrent",
    "configparser",
    "contextlib",
    "contextvars",
    "copy",
    "copyreg",
    "crypt",
    "csv",
    "ctypes",
    "curses",
    "dataclasses",
    "datetime",
    "dbm",
    "decimal",
    "difflib",
    "dill",
    "dis",
    "distutils",
    "doctest",
    "email",
    "encodings",
    "ensurepip",
    "enum",
    "errno",
    "f2py",
    "fabric",
    "faulthandler",
    "fcntl",
    "filecmp",
    "fileinput",
    "fnmatch",
    "fractions",
    "ftplib",
    "functools",
    "gc",
    "genericpath",
    "getopt",
    "getpass",
    "gettext",
    "glob",
    "graphlib",
    "grp",
    "gzip",
    "hashlib",
    "heapq",
    "hmac",
    "html",
    "http",
    "httpx",
    "idlelib",
    "imaplib",
    "imghdr",
    "imp",
    "importlib",
    "inspect",
    "io",
    "ipaddress",
    "itertools",
    "jinja2",
    "joblib",
    "json",
    "jsonpickle",
    "keyword",
    "lib2to3",
    "linecache",
    "locale",
    "logging",
    "lzma",
    "mailbox",
    "mailcap",
    "marshal",
    "math",
    "mimetypes",
    "mmap",
    "modulefinder",
    "msilib",
    "msvcrt",
    "multiprocessing",
    "netrc",
    "nis",
    "nntplib",
    "nt",
    "ntpath",
    "nturl2path",
    "numbers",
    "numpy",
    "opcode",
    "operator",
    "optparse",
    "os",
    "ossaudiodev",
    "pandas",
    "paramiko",
    "pathlib",
    "pdb",
    "pickle",
    "pickletools",
    "pip",
    "pipes",
    "pkg_resources",
    "pkgutil",
    "platform",
    "plistlib",
    "poplib",
    "posix",
    "posixpath",
    "pprint",
    "profile",
    "pstats",
    "pty",
    "pwd",
    "py_compile",
    "pyclbr",
    "pydoc",
    "pydoc_data",
    "pyexpat",
    "queue",
    "quopri",
    "random",
    "re",
    "readline",
    "reprlib",
    "requests",
    "resource",
    "rlcompleter",
    "runpy",
    "sched",
    "scipy",
    "secrets",
    "select",
    "selectors",
    "setuptools",
    "shelve",
    "shlex",
    "shutil",
    "signal",
    "site",
    "six",
    "smtpd",
    "smtplib",
    "sndhdr",
    "socket",
    "socketserver",
    "spwd",
    "sqlite3",
    "sre_compile",
    "sre_constants",
    "sre_parse",
    "ssl",
    "stat",
    "statistics",
    "string",
    "stringprep",
    "struct",
    "subprocess",
    "sunau",
    "symtable",
    "sys",
    "sysconfig",
    "syslog",
    "tabnanny",
    "tarfile",
    "telnetlib",
    "tempfile",
    "termios",
    "textwrap",
    "this",
    "threading",
    "time",
    "timeit",
    "tkinter",
    "token",
    "tokenize",
    "tomllib",
    "torch",
    "trace",
    "traceback",
    "tracemalloc",
    "tty",
    "turtle",
    "turtledemo",
    "types",
    "typing",
    "unicodedata",
    "unittest",
    "urllib",
    "urllib3",
    "uu",
    "uuid",
    "venv",
    "warnings",
    "wave",
    "weakref",
    "webbrowser",
    "wheel",
    "winreg",
    "winsound",
    "wsgiref",
    "xdrlib",
    "xml",
    "xmlrpc",
    "yaml",
    "zipapp",
    "zipfile",
    "zipimport",
    "zlib",
    "zoneinfo",
];

/// What kind of thing a configuration names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Part of Keras, computing only.
    BuiltIn,
    /// An object whose code whoever loads the model must bring.
    Custom,
    /// Part of Keras or TensorFlow that does more than compute.
    Unsafe,
    /// Something else that Python can import.
    Foreign,
}

/// Where `name` of `module` leads; `registered` is the name under which Keras was told of it.
pub(super) fn origin(module: Option<&str>, name: &str, is_function: bool, registered: &str) -> Origin {
    let is_registered = registered.contains('>');
    let Some(module) = module.filter(|module| !module.is_empty()) else {
        return without_module(name, is_function, is_registered);
    };
    let segments: Vec<&str> = module.split('.').collect();
    match segments.as_slice() {
        ["builtins"] => of_builtins(name, is_function),
        ["tensorflow", "keras", rest @ ..] | ["tensorflow", "python", "keras", rest @ ..] => {
            of_keras(rest, name, is_function)
        }
        ["tensorflow", rest @ ..] => of_tensorflow(rest, name),
        [package, rest @ ..] if KERAS_PACKAGES.contains(package) => of_keras(rest, name, is_function),
        ["__main__", ..] => Origin::Custom,
        [package, ..] if COMPANION_PACKAGES.contains(package) && !is_function && !starts_lower(name) => Origin::Custom,
        [package, ..] if is_registered && FOREIGN_MODULES.binary_search(package).is_err() => Origin::Custom,
        _ => Origin::Foreign,
    }
}

/// Whether a function that a `TFOpLambda` layer calls does more than compute; `name` is its
/// public name below `tf`.
pub(super) fn is_unsafe_tensorflow_function(name: &str) -> bool {
    name.split('.').any(|part| UNSAFE_TENSORFLOW_PARTS.contains(&part))
}

/// The layout before modules were recorded: names are looked up among Keras's own and those that the caller gives.
fn without_module(name: &str, is_function: bool, is_registered: bool) -> Origin {
    let last = name.rsplit(['.', '>']).next().unwrap_or(name);
    if UNSAFE_FUNCTIONS.contains(&last) || (is_function && UNSAFE_BUILTINS.contains(&last)) {
        Origin::Unsafe
    } else if is_registered && !name.split('>').next().is_some_and(|package| KERAS_PACKAGES.contains(&package)) {
        Origin::Custom
    } else {
        Origin::BuiltIn
    }
}

/// Whether the name is that of a function by Python's conventions.
fn starts_lower(name: &str) -> bool {
    name.starts_with(|character: char| character.is_lowercase())
}

/// Keras writes `builtins` for functions of its own, and Python has others of that module.
fn of_builtins(name: &str, is_function: bool) -> Origin {
    const TYPES: [&str; 10] = ["NoneType", "bool", "bytes", "dict", "float", "int", "list", "set", "str", "tuple"];
    if UNSAFE_BUILTINS.contains(&name) || UNSAFE_FUNCTIONS.contains(&name) {
        Origin::Unsafe
    } else if is_function || TYPES.contains(&name) {
        Origin::BuiltIn
    } else {
        Origin::Foreign
    }
}

/// `path` is the module below the package.
fn of_keras(path: &[&str], name: &str, is_function: bool) -> Origin {
    let public: Vec<&str> = path.iter().copied().filter(|segment| !is_internal(segment)).collect();
    let last = name.rsplit(['.', '>']).next().unwrap_or(name);
    let is_plain = path.iter().all(|segment| is_identifier(segment)) && is_identifier(name);
    if !is_plain || UNSAFE_FUNCTIONS.contains(&last) {
        return Origin::Unsafe;
    }
    // Classes begin with a capital: what does not is a function, whatever it is declared as.
    let is_block = public.first().is_none_or(|module| FUNCTION_MODULES.contains(module));
    if (is_function || starts_lower(last)) && !is_block { Origin::Unsafe } else { Origin::BuiltIn }
}

/// Folders between the package and the public parts, by release.
fn is_internal(segment: &str) -> bool {
    matches!(segment, "src" | "api" | "_tf_keras" | "keras" | "_legacy" | "legacy" | "engine")
}

fn of_tensorflow(path: &[&str], name: &str) -> Origin {
    if TENSORFLOW_CLASSES.contains(&name) {
        Origin::BuiltIn
    } else if path.iter().copied().chain(name.split('.')).any(|part| UNSAFE_TENSORFLOW_PARTS.contains(&part)) {
        Origin::Unsafe
    } else {
        Origin::Custom
    }
}

fn is_identifier(text: &str) -> bool {
    text.chars().all(|character| character.is_alphanumeric() || "_>.<".contains(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_for_the_search() {
        assert!(FOREIGN_MODULES.is_sorted());
    }

    #[test]
    fn modules_are_compared_by_segments_and_not_by_how_they_begin() {
        assert_eq!(origin(Some("keras.layers"), "Dense", false, "Dense"), Origin::BuiltIn);
        assert_eq!(origin(Some("keras_evil.layers"), "Dense", false, "Dense"), Origin::Foreign);
        assert_eq!(origin(Some("kerasx"), "Dense", false, "Dense"), Origin::Foreign);
        assert_eq!(origin(Some("tensorflow_evil.keras"), "Dense", false, "Dense"), Origin::Foreign);
    }
}
