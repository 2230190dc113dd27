//! Flat vectors as safetensors files, tensor by tensor, and back.

use std::{collections::BTreeMap, path::Path};

use nibble_codec::Layout;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sha2::{Digest, Sha256};

use crate::{
    error::SimError,
    files::{from_bytes, read_named, to_bytes, write_whole},
};

/// SHA-256 of parameters as little-endian f32, in hexadecimal: what tells two models apart.
#[must_use]
pub fn hash(values: &[f32]) -> String {
    let mut sha = Sha256::new();
    for chunk in values.chunks(4096) {
        sha.update(to_bytes(chunk));
    }
    sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes `values`, laid out by `layout`.
///
/// # Errors
/// If the file cannot be written; it is whole or not there.
pub fn write(path: &Path, layout: &Layout, values: &[f32]) -> Result<(), SimError> {
    let tensors: Vec<_> = layout
        .tensors()
        .iter()
        .map(|tensor| (tensor.name.clone(), tensor.shape.clone(), to_bytes(&values[tensor.offset..][..tensor.len])))
        .collect();
    let odd = |error: safetensors::SafeTensorError| SimError::File {
        path: path.into(),
        problem: error.to_string(),
        mend: "give the tensors names and shapes that safetensors takes".into(),
    };
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(odd)?;
    write_whole(path, &safetensors::serialize(views, None).map_err(odd)?)
}

/// Reads all tensors of a file as one flat vector, in the order in which they lie in the file.
///
/// # Errors
/// If the file cannot be read, is not safetensors, or holds tensors other than F32.
pub fn read(path: &Path) -> Result<(Layout, Vec<f32>), SimError> {
    let bytes = read_named(path, "a .safetensors file of F32 tensors")?;
    let odd = |problem: String, mend: &str| SimError::File { path: path.into(), problem, mend: mend.into() };
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| odd(format!("not a safetensors file: {error}"), "give a .safetensors file of F32 tensors"))?;
    // In the file's own order of data: by where each tensor's bytes begin; empty tensors by name among themselves.
    let mut by_place = BTreeMap::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            let problem = format!("tensor {name:?} is {:?}, not F32", view.dtype());
            return Err(odd(problem, "convert it to F32, e.g. with tensor.float() in PyTorch"));
        }
        by_place.insert((view.data().as_ptr() as usize, name.to_owned()), view);
    }
    let shapes = by_place.iter().map(|((_, name), view)| (name.clone(), view.shape().to_vec()));
    let layout = Layout::new(shapes).map_err(|error| odd(error.to_string(), "rename or shrink the tensors"))?;
    let values = by_place.values().flat_map(|view| from_bytes(view.data()).unwrap_or_default()).collect();
    Ok((layout, values))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_written_reads_back_in_the_layouts_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let layout = Layout::new([("fc2.weight", vec![2, 2]), ("b", vec![1]), ("a", vec![3])]).unwrap();
        let values: Vec<_> = (0..8u8).map(f32::from).collect();
        write(&path, &layout, &values).unwrap();
        let (read_layout, read_values) = read(&path).unwrap();
        let named = |layout: &Layout, values: &[f32]| {
            let tensor =
                |t: &nibble_codec::Tensor| (t.name.clone(), (t.shape.clone(), values[t.offset..][..t.len].to_vec()));
            layout.tensors().iter().map(tensor).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(named(&read_layout, &read_values), named(&layout, &values));
    }

    #[test]
    fn what_is_not_safetensors_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        fs::write(&path, b"not a model").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("not a safetensors file"));
    }
}
