//! Names by which a template reaches the internals of the Python program that renders it.

/// Attributes without leading underscores that lead from any object to code.
const INTERNAL: [&str; 24] = [
    "mro",
    "func_globals",
    "func_code",
    "func_closure",
    "f_globals",
    "f_builtins",
    "f_locals",
    "f_back",
    "f_code",
    "gi_frame",
    "gi_code",
    "cr_frame",
    "cr_code",
    "ag_frame",
    "ag_code",
    "tb_frame",
    "tb_next",
    "co_code",
    "co_consts",
    "im_func",
    "im_self",
    "im_class",
    "format_map",
    "_module",
];

/// Functions and methods that run code or open files, in Python or in its libraries.
const CODE: [&str; 27] = [
    "eval",
    "exec",
    "compile",
    "open",
    "__import__",
    "import_module",
    "getattr",
    "setattr",
    "delattr",
    "globals",
    "locals",
    "vars",
    "breakpoint",
    "execfile",
    "popen",
    "Popen",
    "system",
    "check_output",
    "check_call",
    "getoutput",
    "getstatusoutput",
    "spawnl",
    "spawnv",
    "execv",
    "execve",
    "fdopen",
    "load_module",
];

/// Modules whose attributes run code.
const MODULES: [&str; 10] =
    ["os", "sys", "subprocess", "builtins", "importlib", "socket", "shutil", "pickle", "pty", "ctypes"];

/// Whether an attribute of this name is one of Python's internals: the sandbox of Jinja refuses them too.
pub(super) fn is_internal(name: &str) -> bool {
    let is_dunder = name.len() > 4 && name.starts_with("__") && name.ends_with("__");
    is_dunder && is_identifier(name) || INTERNAL.contains(&name)
}

/// Whether a call of this name runs code.
pub(super) fn runs_code(name: &str) -> bool {
    CODE.contains(&name)
}

pub(super) fn is_module(name: &str) -> bool {
    MODULES.contains(&name)
}

/// Whether a text is the middle of a name of Python's internals, to which underscores are joined.
pub(super) fn is_stem(text: &str) -> bool {
    const STEMS: [&str; 6] = ["globals", "builtins", "subclasses", "_globals", "_builtins", "_subclasses"];
    STEMS.contains(&text.trim_end_matches('_'))
}

/// Whether a text that is used as code or as a format reaches for internals.
pub(super) fn mentions_internal(text: &str) -> bool {
    text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_').any(|word| {
        is_internal(word)
            && (word.starts_with("__") && !["__init__", "__main__", "__name__", "__file__"].contains(&word)
                || word.starts_with("func_"))
    })
}

fn is_identifier(name: &str) -> bool {
    name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
}
