//! What is special about PyTorch's archives: which pickle names the storages, and the source code
//! that TorchScript runs.
//!
//! TorchScript can call nothing but operators. Some of them open files, and others come from
//! libraries that the loading program must have been given.

use super::{dangerous, suspicious};
use crate::format::found::{Found, shown};
use crate::format::kind;

/// Namespaces of operators that come with PyTorch and its sister projects.
const NAMESPACES: &str = "prim aten torch quantized quantized_decomposed _quantized sparse mkldnn mkldnn_prepacked \
    prepacked profiler cuda _C torchvision torchaudio torchtext inductor _c10d_functional c10d_functional rnn \
    onednn static_runtime fb internal xnnpack metal vulkan_prepack";
/// Operators that read, write or map files.
const FILE_OPERATORS: &str = "from_file save load _save_to_file read_file write_file";

/// The parts of a PyTorch archive.
pub(super) struct Layout {
    pub(super) is_torch_script: bool,
}

impl Layout {
    /// By the members' names; none where the archive is none of PyTorch's.
    pub(super) fn of(names: &[&str]) -> Option<Self> {
        let holds = |wanted: &str| names.iter().any(|name| is_called(name, wanted));
        holds("data.pkl").then(|| Self { is_torch_script: holds("constants.pkl") })
    }

    /// Whether the member is a pickle that names storages of the archive.
    pub(super) fn is_pickle(&self, name: &str) -> bool {
        is_called(name, "data.pkl") || (self.is_torch_script && is_called(name, "constants.pkl"))
    }

    /// Whether the member is source code of TorchScript.
    pub(super) fn is_code(&self, name: &str) -> bool {
        self.is_torch_script && kind::extension(name) == "py" && name.split('/').any(|part| part == "code")
    }
}

/// The folder of the storages that a pickle names: `data/` beside `data.pkl`.
pub(super) fn storage_folder(pickle: &str) -> String {
    format!("{}/", pickle.strip_suffix(".pkl").unwrap_or(pickle))
}

fn is_called(name: &str, wanted: &str) -> bool {
    name.rsplit('/').next() == Some(wanted)
}

/// Adds what operators of TorchScript source `code` open files or come from elsewhere.
pub(super) fn check_code(name: &str, code: &[u8], found: &mut Found) {
    let text = String::from_utf8_lossy(code);
    for path in text.split(|character: char| !character.is_alphanumeric() && !"_.".contains(character)) {
        let parts: Vec<&str> = path.splitn(4, '.').collect();
        let (namespace, operator) = match parts.as_slice() {
            ["ops", namespace, operator, ..] => (*namespace, *operator),
            ["torch", operator] => ("torch", *operator),
            _ => continue,
        };
        let path = shown(&format!("{namespace}.{operator}"));
        if FILE_OPERATORS.split(' ').any(|known| known == operator) {
            let detail = format!("The code in `{}` calls `{path}`, which opens files.", shown(name));
            dangerous(found, "TORCHSCRIPT_FILE_ACCESS", detail);
        } else if !NAMESPACES.split(' ').any(|known| known == namespace) {
            let detail =
                format!("The code in `{}` calls `{path}`, an operator that is not part of PyTorch.", shown(name));
            suspicious(found, "TORCHSCRIPT_CUSTOM_OPERATOR", detail);
        }
    }
}
