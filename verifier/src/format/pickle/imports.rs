//! The names a pickle imports, what it does with them, and the findings that follow.

use std::collections::HashMap;

use super::error::PickleError;
use super::globals::{self, Standing};
use super::value::Value;
use crate::evidence::{Finding, InspectionVerdict, Severity};
use crate::format::found::{Found, shown};

/// Different names one file may import; checkpoints import a dozen, whole models a hundred.
const MAX_IMPORTS: usize = 4_000;
const MAX_NAME_BYTES: usize = 4096;

const REMEDY: &str = "do not load the file; obtain the weights as safetensors";

/// What is done with an imported name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Called,
    /// Called in the one way that is harmless.
    CalledHarmlessly,
    /// Attributes or items of the name itself are set.
    Overwritten,
}

/// Calls whose result is told at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Simple {
    Dictionary,
    FirstArgument,
    /// The first argument is called with the third.
    Forward,
}

#[derive(Debug)]
struct Import {
    module: String,
    name: String,
    standing: Standing,
    is_called: bool,
    is_called_harmlessly: bool,
    is_overwritten: bool,
}

/// All names of one file.
#[derive(Debug)]
pub(super) struct Imports {
    names: Vec<Import>,
    index: HashMap<(String, String), u32>,
    /// Whether classes that TorchScript defines in the archive itself may be named.
    allows_torch_script: bool,
    has_computed_name: bool,
    /// Whether the result of a call is called.
    pub(super) has_computed_call: bool,
    extension_code: Option<u32>,
}

impl Imports {
    pub(super) fn new(allows_torch_script: bool) -> Self {
        Self {
            names: Vec::new(),
            index: HashMap::new(),
            allows_torch_script,
            has_computed_name: false,
            has_computed_call: false,
            extension_code: None,
        }
    }

    pub(super) fn add(&mut self, module: &str, name: &str) -> Result<Value, PickleError> {
        if module.len() > MAX_NAME_BYTES || name.len() > MAX_NAME_BYTES {
            return self.add_computed();
        }
        let key = (module.to_owned(), name.to_owned());
        if let Some(index) = self.index.get(&key) {
            return Ok(Value::Global(*index));
        }
        if self.names.len() >= MAX_IMPORTS {
            return Err(PickleError::TooComplex("imported names"));
        }
        let is_torch_script = self.allows_torch_script && (module == "__torch__" || module.starts_with("__torch__."));
        let standing = if is_torch_script { Standing::Allowed } else { globals::judge(module, name) };
        let index = u32::try_from(self.names.len()).map_err(|_| PickleError::TooComplex("imported names"))?;
        self.names.push(Import {
            module: key.0.clone(),
            name: key.1.clone(),
            standing,
            is_called: false,
            is_called_harmlessly: false,
            is_overwritten: false,
        });
        self.index.insert(key, index);
        Ok(Value::Global(index))
    }

    /// A name that the pickle itself puts together, so that reading it says nothing.
    pub(super) fn add_computed(&mut self) -> Result<Value, PickleError> {
        self.has_computed_name = true;
        self.add("", "")
    }

    /// A name behind a number that is looked up where the pickle is loaded (`copyreg.add_extension`).
    pub(super) fn add_extension(&mut self, code: u32) -> Result<Value, PickleError> {
        self.extension_code = Some(code);
        self.add("", "")
    }

    pub(super) fn note(&mut self, index: u32, what: Use) {
        if let Some(import) = self.get_mut(index) {
            match what {
                Use::Called => import.is_called = true,
                Use::CalledHarmlessly => import.is_called_harmlessly = true,
                Use::Overwritten => import.is_overwritten = true,
            }
        }
    }

    /// Module and name of an imported value.
    pub(super) fn name_of(&self, value: &Value) -> Option<(&str, &str)> {
        let Value::Global(index) = value else { return None };
        self.get(*index).map(|import| (import.module.as_str(), import.name.as_str()))
    }

    pub(super) fn is(&self, value: &Value, module: &str, name: &str) -> bool {
        self.name_of(value) == Some((module, name))
    }

    /// Whether `arguments` make a call of `class` harmless that is not so with others:
    /// `getattr(Enumeration, 'MEMBER')`, as some releases of Python 3.11 and 3.12 pickle enumerations,
    /// and `torch.storage._load_from_bytes(b'…')` of bytes that are looked into.
    pub(super) fn is_harmless_call(&self, class: &Value, arguments: &[Value]) -> bool {
        match (self.name_of(class), arguments) {
            (Some(("builtins" | "__builtin__", "getattr")), [Value::Global(owner), Value::Text(name)]) => {
                let is_class = self.get(*owner).is_some_and(Import::is_harmless_class);
                let is_constant = |character: char| character.is_ascii_uppercase() || "_0123456789".contains(character);
                is_class && name.starts_with(|first: char| first.is_ascii_uppercase()) && name.chars().all(is_constant)
            }
            (Some(("torch.storage", "_load_from_bytes")), [Value::Suspect]) => true,
            _ => false,
        }
    }

    pub(super) fn simple_kind(&self, class: &Value) -> Option<Simple> {
        match self.name_of(class)? {
            ("collections" | "_collections", "OrderedDict") | ("builtins" | "__builtin__", "dict") => {
                Some(Simple::Dictionary)
            }
            ("collections" | "_collections", "defaultdict") => Some(Simple::Dictionary),
            ("torch", "Size") | ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                Some(Simple::FirstArgument)
            }
            ("torch._tensor", "_rebuild_from_type_v2") => Some(Simple::Forward),
            _ => None,
        }
    }

    /// Whether anything is imported at all.
    pub(super) const fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Number of different names.
    pub(super) const fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether something dangerous is not only named but done.
    pub(super) fn is_armed(&self) -> bool {
        let is_used = |import: &Import| import.is_called || import.is_overwritten;
        self.names.iter().any(|import| is_used(import) && import.verdict() == InspectionVerdict::Dangerous)
    }

    pub(super) fn report(&self, found: &mut Found) {
        let mut dangerous = |code: &str, severity: Severity, detail: String| {
            found.add(InspectionVerdict::Dangerous, Finding::new(code, severity, detail, REMEDY));
        };
        if self.has_computed_name {
            let detail = "The pickle imports a name that it puts together itself.".to_owned();
            dangerous("PICKLE_COMPUTED_GLOBAL", Severity::Critical, detail);
        }
        if self.has_computed_call {
            let detail = "The pickle calls what another call has returned.".to_owned();
            dangerous("PICKLE_COMPUTED_CALL", Severity::Critical, detail);
        }
        if let Some(code) = self.extension_code {
            let detail = format!("The pickle imports a name by number {code}, which only the loading program knows.");
            dangerous("PICKLE_EXTENSION_CODE", Severity::High, detail);
        }
        for import in self.names.iter().filter(|import| !import.module.is_empty() || !import.name.is_empty()) {
            import.report(found);
        }
    }

    fn get(&self, index: u32) -> Option<&Import> {
        self.names.get(usize::try_from(index).ok()?)
    }

    fn get_mut(&mut self, index: u32) -> Option<&mut Import> {
        self.names.get_mut(usize::try_from(index).ok()?)
    }
}

impl Import {
    fn is_harmless_class(&self) -> bool {
        matches!(self.standing, Standing::Allowed | Standing::UnknownClass)
            && self.name.starts_with(|first: char| first.is_ascii_uppercase())
    }

    fn verdict(&self) -> InspectionVerdict {
        match self.standing {
            _ if self.is_overwritten => InspectionVerdict::Dangerous,
            Standing::Allowed => InspectionVerdict::Ok,
            _ if self.is_called_harmlessly && !self.is_called => InspectionVerdict::Ok,
            Standing::Dangerous => InspectionVerdict::Dangerous,
            Standing::UnknownFunction if self.is_called => InspectionVerdict::Dangerous,
            Standing::UnknownFunction | Standing::UnknownClass => InspectionVerdict::Suspicious,
        }
    }

    fn report(&self, found: &mut Found) {
        let name = shown(&format!("{}.{}", self.module, self.name));
        let verdict = self.verdict();
        if self.is_overwritten {
            let detail = format!("The pickle changes `{name}` itself, for all that is loaded after it.");
            found.add(verdict, Finding::new("PICKLE_OVERWRITES_GLOBAL", Severity::Critical, detail, REMEDY));
        }
        let (code, severity, detail, remedy) = match self.standing {
            Standing::Allowed => return,
            _ if verdict == InspectionVerdict::Ok => return,
            Standing::Dangerous if self.is_called => {
                ("PICKLE_DANGEROUS_GLOBAL", Severity::Critical, format!("Loading the pickle calls `{name}`."), REMEDY)
            }
            Standing::Dangerous => {
                ("PICKLE_DANGEROUS_GLOBAL", Severity::Critical, format!("The pickle imports `{name}`."), REMEDY)
            }
            Standing::UnknownFunction if self.is_called => (
                "PICKLE_UNKNOWN_CALL",
                Severity::High,
                format!("Loading the pickle calls `{name}`, a function that is not known to be harmless."),
                REMEDY,
            ),
            Standing::UnknownFunction | Standing::UnknownClass => (
                "PICKLE_UNKNOWN_GLOBAL",
                Severity::Medium,
                format!("The pickle needs `{name}`, which is not known to be harmless."),
                "load it only where that package is trusted, or obtain the weights as safetensors",
            ),
        };
        found.add(verdict, Finding::new(code, severity, detail, remedy));
    }
}
