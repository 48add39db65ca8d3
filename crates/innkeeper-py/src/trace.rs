//! What an engine that traces has to tell, and machine code as text.

use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
use innkeeper_core::engine::TracedBlock;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

/// The dictionary `TracedBlock` of `_core.pyi`.
pub fn block<'py>(py: Python<'py>, of: &TracedBlock) -> PyResult<Bound<'py, PyDict>> {
    let (block, exits) = (PyDict::new(py), PyDict::new(py));
    for (reason, times) in &of.exits {
        exits.set_item(reason, times)?;
    }
    block.set_item("vcpu", of.vcpu)?;
    block.set_item("rip", of.rip)?;
    block.set_item("gpa", of.gpa)?;
    block.set_item("mode", &of.mode)?;
    block.set_item("guest", PyBytes::new(py, &of.guest))?;
    block.set_item("host", PyBytes::new(py, &of.host))?;
    block.set_item("host_address", of.host_address)?;
    block.set_item("executions", of.executions)?;
    block.set_item("exits", exits)?;
    Ok(block)
}

#[pyfunction]
#[pyo3(signature = (code, address, bits, /))]
pub fn disassemble<'py>(
    py: Python<'py>,
    code: &[u8],
    address: u64,
    bits: u32,
) -> PyResult<Bound<'py, PyList>> {
    if !matches!(bits, 16 | 32 | 64) {
        return Err(PyValueError::new_err(format!("{bits} bits; code is 16, 32 or 64 bits wide")));
    }
    let mut formatter = formatter();
    let mut rest = code;
    let lines = PyList::empty(py);
    for instruction in &mut Decoder::with_ip(bits, code, address, DecoderOptions::NONE) {
        let (bytes, behind) = rest.split_at(instruction.len());
        rest = behind;
        let mut text = String::new();
        formatter.format(&instruction, &mut text);
        lines.append((instruction.ip(), PyBytes::new(py, bytes), text))?;
    }
    Ok(lines)
}

fn formatter() -> IntelFormatter {
    let mut formatter = IntelFormatter::new();
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_branch_leading_zeros(false);
    options.set_show_branch_size(false);
    formatter
}
