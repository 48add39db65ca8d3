//! Viewers of screens, and a screen without a device.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use innkeeper_display::encode::{PixelFormat, alpha_cursor};
use innkeeper_display::memory::MemoryScreen as CoreMemoryScreen;
use innkeeper_display::viewer::Viewer as CoreViewer;
use innkeeper_display::watch::Watch as CoreWatch;
use innkeeper_display::{Cursor, Rect, Text};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::native::Screen;

const SIDE_LIMIT: u32 = 16384;

/// A screen whose picture is given from outside.
#[pyclass(frozen, module = "innkeeper._core")]
pub struct MemoryScreen {
    screen: Arc<CoreMemoryScreen>,
}

/// Little-endian pixels, as many as the sides say.
fn pixels_of(bytes: &[u8], width: u32, height: u32) -> PyResult<Vec<u32>> {
    let count = u64::from(width) * u64::from(height);
    if bytes.len() as u64 != 4 * count {
        let have = bytes.len();
        return Err(PyValueError::new_err(format!(
            "{width} × {height} pixels are {} bytes, not {have}",
            4 * count
        )));
    }
    let (pixels, _) = bytes.as_chunks::<4>();
    Ok(pixels.iter().map(|pixel| u32::from_le_bytes(*pixel)).collect())
}

#[pymethods]
impl MemoryScreen {
    #[new]
    fn new() -> Self {
        Self { screen: Arc::default() }
    }

    #[getter]
    fn screen(&self) -> Screen {
        Screen { screen: Arc::clone(&self.screen) as _ }
    }

    #[getter]
    fn preferred(&self) -> Option<(u32, u32)> {
        self.screen.preferred()
    }

    #[pyo3(signature = (width, height, /))]
    fn resize(&self, width: u32, height: u32) -> PyResult<()> {
        if width > SIDE_LIMIT || height > SIDE_LIMIT {
            let message = format!("a screen is {width} × {height}; at most {SIDE_LIMIT} a side");
            return Err(PyValueError::new_err(message));
        }
        self.screen.resize(width, height);
        Ok(())
    }

    #[pyo3(signature = (x, y, width, height, pixels, /))]
    fn draw(&self, py: Python<'_>, x: u32, y: u32, width: u32, height: u32, pixels: &[u8]) -> PyResult<()> {
        let pixels = pixels_of(pixels, width, height)?;
        if !py.detach(|| self.screen.draw(Rect { x, y, width, height }, &pixels)) {
            let message = format!("{width} × {height} pixels at {x}, {y} are not within the screen");
            return Err(PyValueError::new_err(message));
        }
        Ok(())
    }

    #[pyo3(signature = (width, height, hot_x, hot_y, pixels, /))]
    fn set_cursor(&self, width: u32, height: u32, hot_x: u32, hot_y: u32, pixels: &[u8]) -> PyResult<()> {
        let pixels = pixels_of(pixels, width, height)?;
        let shape = Cursor { width, height, pixels, hot_x, hot_y };
        self.screen.set_cursor((!shape.pixels.is_empty()).then_some(shape));
        Ok(())
    }

    #[pyo3(signature = (cells, columns, rows, cursor, /))]
    fn set_text(&self, cells: Option<Vec<(u8, u8)>>, columns: u32, rows: u32, cursor: Option<(u32, u32)>) {
        self.screen.set_text(cells.map(|cells| Text { columns, rows, cells, cursor }));
    }
}

/// One viewer of a screen. What encodes holds its lock, without the interpreter.
#[pyclass(frozen, module = "innkeeper._core")]
pub struct Viewer {
    viewer: Mutex<CoreViewer>,
}

/// A number that changes with the shape, then hot spot, width, height and body.
type Shape<'py> = (u64, u32, u32, u32, u32, Bound<'py, PyBytes>);

impl Viewer {
    fn locked(&self) -> MutexGuard<'_, CoreViewer> {
        self.viewer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the lock without holding the interpreter: who has it may want that.
    fn with<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut CoreViewer) -> T + Send) -> T {
        py.detach(|| work(&mut self.locked()))
    }
}

#[pymethods]
impl Viewer {
    #[new]
    fn new() -> Self {
        Self { viewer: Mutex::default() }
    }

    #[pyo3(signature = (screen, /))]
    fn refresh(&self, py: Python<'_>, screen: &Bound<'_, Screen>) -> (u32, u32) {
        let screen = Arc::clone(&screen.get().screen);
        self.with(py, |viewer| {
            viewer.refresh(&*screen);
            viewer.size()
        })
    }

    fn follow(&self, py: Python<'_>) -> (u32, u32) {
        self.with(py, CoreViewer::follow)
    }

    #[getter]
    fn told(&self, py: Python<'_>) -> (u32, u32) {
        self.with(py, |viewer| viewer.told())
    }

    #[pyo3(signature = (pixel_format, /))]
    fn set_format(&self, py: Python<'_>, pixel_format: [u8; 16]) -> PyResult<()> {
        let format = PixelFormat::parse(&pixel_format).map_err(PyValueError::new_err)?;
        self.with(py, |viewer| viewer.encoder.set_format(format));
        Ok(())
    }

    #[pyo3(signature = (numbers, /))]
    fn set_encodings(&self, py: Python<'_>, numbers: Vec<i32>) {
        self.with(py, |viewer| viewer.encoder.set_encodings(&numbers));
    }

    #[pyo3(signature = (x, y, width, height, /))]
    fn forget(&self, py: Python<'_>, x: u32, y: u32, width: u32, height: u32) {
        self.with(py, |viewer| viewer.forget(Rect { x, y, width, height }));
    }

    #[pyo3(signature = (x, y, width, height, /))]
    fn update<'py>(
        &self,
        py: Python<'py>,
        x: u32,
        y: u32,
        width: u32,
        height: u32,
    ) -> (usize, Bound<'py, PyBytes>) {
        let update = self.with(py, |viewer| viewer.update(Rect { x, y, width, height }));
        (update.rects, PyBytes::new(py, &update.body))
    }

    #[pyo3(signature = (screen, alpha, /))]
    fn cursor<'py>(&self, py: Python<'py>, screen: &Bound<'_, Screen>, alpha: bool) -> Option<Shape<'py>> {
        let screen = Arc::clone(&screen.get().screen);
        let (number, shape, body) = self.with(py, |viewer| {
            let (number, shape) = screen.cursor()?;
            let body = if alpha { alpha_cursor(&shape) } else { viewer.encoder.cursor(&shape) };
            Some((number, shape, body))
        })?;
        Some((number, shape.hot_x, shape.hot_y, shape.width, shape.height, PyBytes::new(py, &body)))
    }
}

/// Waits for a screen to change.
#[pyclass(frozen, module = "innkeeper._core")]
pub struct Watch {
    watch: CoreWatch,
}

#[pymethods]
impl Watch {
    #[new]
    #[pyo3(signature = (screen, /))]
    fn new(screen: &Bound<'_, Screen>) -> Self {
        Self { watch: CoreWatch::new(Arc::clone(&screen.get().screen)) }
    }

    #[pyo3(signature = (wanted, /))]
    fn want(&self, wanted: bool) {
        self.watch.want(wanted);
    }

    fn stir(&self) {
        self.watch.stir();
    }

    #[getter]
    fn looks(&self) -> u64 {
        self.watch.looks()
    }

    fn wait(&self, py: Python<'_>) -> bool {
        py.detach(|| self.watch.wait())
    }

    fn close(&self) {
        self.watch.close();
    }
}
