//! Pickles, and the files that PyTorch and NumPy make of them. Nothing here is ever loaded.

use crate::zip::Zip;

/// A pickle of protocol 2 to 4 in the making, instruction by instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pickle {
    bytes: Vec<u8>,
}

impl Default for Pickle {
    fn default() -> Self {
        Self::new()
    }
}

impl Pickle {
    pub fn new() -> Self {
        Self { bytes: vec![0x80, 4] }
    }

    /// Calls `module.name` with one text.
    pub fn call(module: &str, name: &str, argument: &str) -> Vec<u8> {
        Self::new().global(module, name).text(argument).raw(b"\x85R").stop()
    }

    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    #[must_use]
    pub fn global(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.raw(b"X").raw(&length(text.len())).raw(text.as_bytes())
    }

    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        self.raw(b"B").raw(&length(bytes.len())).raw(bytes)
    }

    #[must_use]
    pub fn number(self, number: u64) -> Self {
        self.raw(b"\x8a\x08").raw(&number.to_le_bytes())
    }

    #[must_use]
    pub fn numbers(self, numbers: &[u64]) -> Self {
        numbers.iter().fold(self.raw(b"("), |pickle, number| pickle.number(*number)).raw(b"t")
    }

    pub fn stop(self) -> Vec<u8> {
        self.raw(b".").bytes
    }
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

/// A float32 tensor of a checkpoint, in a storage of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    pub name: String,
    pub shape: Vec<u64>,
    /// Number of elements that the pickle gives the storage.
    pub storage_elements: u64,
}

impl Tensor {
    pub fn new(name: &str, shape: &[u64]) -> Self {
        Self { name: name.to_owned(), shape: shape.to_vec(), storage_elements: shape.iter().product() }
    }
}

/// A PyTorch checkpoint: an `OrderedDict` of tensors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoint {
    pub tensors: Vec<Tensor>,
    /// Written before the dictionary's end.
    pub extra: Vec<u8>,
}

impl Checkpoint {
    pub fn new(tensors: &[(&str, &[u64])]) -> Self {
        let tensors = tensors.iter().map(|(name, shape)| Tensor::new(name, shape)).collect();
        Self { tensors, extra: Vec::new() }
    }

    /// The pickle that names the tensors.
    pub fn pickle(&self) -> Vec<u8> {
        let mut pickle = Pickle::new().global("collections", "OrderedDict").raw(b")R(");
        for (key, tensor) in self.tensors.iter().enumerate() {
            pickle = pickle.text(&tensor.name).global("torch._utils", "_rebuild_tensor_v2").raw(b"((");
            pickle = pickle.text("storage").global("torch", "FloatStorage").text(&key.to_string()).text("cpu");
            pickle = pickle.number(tensor.storage_elements).raw(b"tQK\0").numbers(&tensor.shape);
            pickle = pickle.numbers(&strides(&tensor.shape)).raw(b"\x89");
            pickle = pickle.global("collections", "OrderedDict").raw(b")RtR");
        }
        pickle.raw(&self.extra).raw(b"u").stop()
    }

    /// The archive that `torch.save` writes since version 1.6.
    pub fn zip(&self) -> Zip {
        let mut zip = Zip::new().file("archive/data.pkl", self.pickle());
        for (key, tensor) in self.tensors.iter().enumerate() {
            zip = zip.file(&format!("archive/data/{key}"), data(&tensor.shape));
        }
        zip.file("archive/version", "3\n").file("archive/byteorder", "little")
    }

    /// The file of several pickles that older versions wrote.
    pub fn legacy(&self) -> Vec<u8> {
        let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
        let keys = (0..self.tensors.len()).fold(Pickle::new().raw(b"]("), |keys, key| keys.text(&key.to_string()));
        let pickles =
            [magic, b"\x80\x02M\xe9\x03.".to_vec(), b"\x80\x02}.".to_vec(), self.pickle(), keys.raw(b"e").stop()];
        let mut bytes = pickles.concat();
        for tensor in &self.tensors {
            bytes.extend(tensor.storage_elements.to_le_bytes());
            bytes.extend(data(&tensor.shape));
        }
        bytes
    }
}

fn strides(shape: &[u64]) -> Vec<u64> {
    (0..shape.len()).map(|dimension| shape[dimension + 1..].iter().product()).collect()
}

/// Small numbers, as weights are.
fn data(shape: &[u64]) -> Vec<u8> {
    (0..shape.iter().product()).flat_map(|_: u64| 0.25_f32.to_le_bytes()).collect()
}

/// An array file of version 1.0.
pub fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}");
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let length = u16::try_from(header.len()).unwrap_or(u16::MAX).to_le_bytes();
    [b"\x93NUMPY\x01\0".as_slice(), &length, header.as_bytes(), data].concat()
}
