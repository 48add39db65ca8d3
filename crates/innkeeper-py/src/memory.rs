//! Guest RAM.

use std::sync::Arc;

use innkeeper_core::memory::{GuestMemory, MemoryError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors;

#[pyclass(frozen, module = "innkeeper._core")]
pub struct Memory {
    pub memory: Arc<GuestMemory>,
}

#[pymethods]
impl Memory {
    #[new]
    #[pyo3(signature = (ranges, /))]
    fn new(py: Python<'_>, ranges: Vec<(u64, u64)>) -> PyResult<Self> {
        let memory = py.detach(|| GuestMemory::new(&ranges)).map_err(errors::memory)?;
        Ok(Self { memory: Arc::new(memory) })
    }

    #[getter]
    fn size(&self) -> u64 {
        self.memory.size()
    }

    #[getter]
    fn ranges(&self) -> Vec<(u64, u64)> {
        self.memory.slots().iter().map(|slot| (slot.gpa, slot.size)).collect()
    }

    #[pyo3(signature = (gpa, length, /))]
    fn read<'py>(&self, py: Python<'py>, gpa: u64, length: u64) -> PyResult<Bound<'py, PyBytes>> {
        let pieces = self.pieces(gpa, length)?;
        PyBytes::new_with(py, length as usize, |mut out| {
            for (gpa, length) in pieces {
                let (piece, rest) = out.split_at_mut(length as usize);
                self.memory.read(gpa, piece).map_err(errors::memory)?;
                out = rest;
            }
            Ok(())
        })
    }

    #[pyo3(signature = (gpa, data, /))]
    fn write(&self, gpa: u64, mut data: &[u8]) -> PyResult<()> {
        for (gpa, length) in self.pieces(gpa, data.len() as u64)? {
            let (piece, rest) = data.split_at(length as usize);
            self.memory.write(gpa, piece).map_err(errors::memory)?;
            data = rest;
        }
        Ok(())
    }

    fn clear(&self, py: Python<'_>) {
        py.detach(|| self.memory.clear());
    }
}

impl Memory {
    /// `[gpa, gpa + length)` cut where one range of RAM ends and the next begins; an error, before
    /// anything is copied, if some of it is not RAM.
    fn pieces(&self, gpa: u64, length: u64) -> PyResult<Vec<(u64, u64)>> {
        let outside = || errors::memory(MemoryError::OutOfRange { gpa, length });
        let (mut at, mut left, mut pieces) = (gpa, length, Vec::new());
        while left > 0 {
            let slot = self.memory.slot(at).ok_or_else(outside)?;
            let piece = left.min(slot.size - (at - slot.gpa));
            pieces.push((at, piece));
            (at, left) = (at + piece, left - piece); // a slot ends within 64 bits
        }
        Ok(pieces)
    }
}
