//! Network cards, and the links that their cables lead to.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use innkeeper_devices::e1000::{E1000 as Card, MEMORY_BYTES, PORT_BYTES, Window};
use innkeeper_devices::virtio::net::{Net, Settings};
use innkeeper_net::passt::Stream;
use innkeeper_net::tap::{Step, Tap};
use innkeeper_net::user::{Boot, Forward, GUEST_V4, Leased, Reach, Settings as UserSettings, UserNet};
use innkeeper_net::{Counted, Link};
use pyo3::exceptions::{PyBlockingIOError, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::memory::Memory;
use crate::native::{Line, Region};
use crate::value;
use crate::virtio::VirtioDevice;

/// A forward: UDP, the host's address and port, the guest's port.
type Asked = (bool, String, u16, u16);

/// Where frames go on the host. It is closed when the last card on it is gone.
#[pyclass(frozen, module = "innkeeper._core")]
pub struct NetLink {
    link: Mutex<Option<Arc<Counted>>>,
    user: Option<Weak<UserNet>>,
    /// The interface's name, or where forwards listen.
    name: Option<String>,
    forwarded: Vec<(String, u16)>,
}

fn host_error(error: &std::io::Error, about: &str) -> PyErr {
    PyOSError::new_err((error.raw_os_error().unwrap_or(0), about.to_owned()))
}

fn address(text: &str, port: u16) -> PyResult<SocketAddr> {
    let ip: IpAddr = text.parse().map_err(|_| PyValueError::new_err(format!("{text:?} is no IP address")))?;
    Ok((ip, port).into())
}

impl NetLink {
    fn of(link: Arc<dyn Link>) -> Self {
        let link = Mutex::new(Some(Arc::new(Counted::new(link))));
        Self { link, user: None, name: None, forwarded: Vec::new() }
    }

    fn counted(&self) -> PyResult<Arc<Counted>> {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        link.clone().ok_or_else(|| PyRuntimeError::new_err("the link is closed"))
    }

    pub fn link(&self) -> PyResult<Arc<dyn Link>> {
        Ok(self.counted()?)
    }
}

#[pymethods]
impl NetLink {
    #[staticmethod]
    #[pyo3(signature = (mac, /, *, loopback, name_servers, host_name, forwards, boot = (None, None, vec![])))]
    fn user(
        mac: [u8; 6],
        loopback: bool,
        name_servers: Vec<(String, u16)>,
        host_name: Option<String>,
        forwards: Vec<Asked>,
        boot: (Option<PathBuf>, Option<String>, Vec<(u16, String)>),
    ) -> PyResult<Self> {
        let boot = Boot { folder: boot.0, file: boot.1, known: boot.2 };
        let forwards = forwards
            .into_iter()
            .map(|(udp, host, port, guest_port)| Ok(Forward { udp, host: address(&host, port)?, guest_port }))
            .collect::<PyResult<_>>()?;
        let name_servers =
            name_servers.into_iter().map(|(host, port)| address(&host, port)).collect::<PyResult<_>>()?;
        let reach = Reach { loopback, name_servers, ..Reach::default() };
        let net = UserNet::new(UserSettings { guest: mac, reach, host_name, forwards, boot }).map_err(
            |(error, forward)| {
                let about = forward.map_or_else(String::new, |forward| forward.host.to_string());
                host_error(&error, &about)
            },
        )?;
        let listens = net.forwarded().iter().map(|at| (at.ip().to_string(), at.port())).collect();
        let net = Arc::new(net);
        let user = Some(Arc::downgrade(&net));
        Ok(Self { forwarded: listens, user, ..Self::of(net) })
    }

    #[staticmethod]
    #[pyo3(signature = (name, bridge, /))]
    fn tap(name: &str, bridge: Option<&str>) -> PyResult<Self> {
        let tap = Tap::open(name, bridge).map_err(|(step, error)| {
            let step = match step {
                Step::Open => "open",
                Step::Attach => "attach",
                Step::Configure => "configure",
                Step::Bridge => "bridge",
                Step::Up => "up",
            };
            host_error(&error, step)
        })?;
        let name = Some(tap.name().to_owned());
        Ok(Self { name, ..Self::of(Arc::new(tap)) })
    }

    #[staticmethod]
    #[pyo3(signature = (descriptor, /))]
    fn stream(descriptor: i32) -> PyResult<Self> {
        // SAFETY: the caller hands over a descriptor that it has detached from its socket.
        let socket = UnixStream::from(unsafe { OwnedFd::from_raw_fd(descriptor) });
        let stream = Stream::new(socket).map_err(|error| host_error(&error, "stream"))?;
        Ok(Self::of(Arc::new(stream)))
    }

    #[getter]
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    #[getter]
    fn forwarded(&self) -> Vec<(String, u16)> {
        self.forwarded.clone()
    }

    fn traffic(&self) -> PyResult<(u64, u64, u64, u64)> {
        let it = self.counted()?.traffic();
        Ok((it.received_bytes, it.received_frames, it.sent_bytes, it.sent_frames))
    }

    fn leases(&self, py: Python<'_>) -> Vec<(String, String, Option<String>)> {
        let user = self.user.as_ref().and_then(Weak::upgrade);
        let leased = py.detach(|| user.and_then(|user| user.leased()));
        let mac = |leased: &Leased| leased.mac.map(|byte| format!("{byte:02x}")).join(":");
        leased.map(|leased| (mac(&leased), GUEST_V4.to_string(), leased.host_name)).into_iter().collect()
    }

    fn close(&self, py: Python<'_>) {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| drop(link));
    }
}

/// A virtio network card without its transport.
#[pyclass(frozen, module = "innkeeper._core")]
pub struct NetCard {
    net: Arc<Net>,
}

#[pymethods]
impl NetCard {
    #[new]
    #[pyo3(signature = (link, mac, /, *, queues = 1, mtu = None))]
    fn new(link: &Bound<'_, NetLink>, mac: [u8; 6], queues: u16, mtu: Option<u16>) -> PyResult<Self> {
        let settings = Settings { mac, pairs: queues, mtu };
        Ok(Self { net: Arc::new(Net::new(settings, link.get().link()?)) })
    }

    fn device(&self) -> VirtioDevice {
        VirtioDevice { class: self.net.clone() }
    }

    #[getter]
    fn up(&self) -> bool {
        self.net.is_up()
    }

    #[pyo3(signature = (up, /))]
    fn set_up(&self, py: Python<'_>, up: bool) {
        py.detach(|| self.net.set_up(up));
    }

    fn announce(&self, py: Python<'_>) {
        py.detach(|| self.net.announce());
    }
}

/// An Intel 82540EM without its configuration space, from one power-on to the next.
#[pyclass(frozen, module = "innkeeper._core")]
pub struct E1000 {
    card: Card,
}

#[pymethods]
impl E1000 {
    #[new]
    #[pyo3(signature = (link, mac, up, memory, line, /))]
    fn new(
        py: Python<'_>,
        link: &Bound<'_, NetLink>,
        mac: [u8; 6],
        up: bool,
        memory: &Bound<'_, Memory>,
        line: &Bound<'_, Line>,
    ) -> PyResult<Self> {
        let (link, memory) = (link.get().link()?, Arc::clone(&memory.get().memory));
        let line = Arc::clone(&line.get().line);
        Ok(Self { card: py.detach(|| Card::new(mac, up, link, memory, line)) })
    }

    fn memory_region(&self) -> (Region, u64) {
        (Region { device: self.card.region(Window::Memory) }, MEMORY_BYTES)
    }

    fn port_region(&self) -> (Region, u64) {
        (Region { device: self.card.region(Window::Ports) }, PORT_BYTES)
    }

    #[pyo3(signature = (command, /))]
    fn set_command(&self, py: Python<'_>, command: u16) {
        py.detach(|| self.card.set_command(command));
    }

    #[pyo3(signature = (up, /))]
    fn set_up(&self, py: Python<'_>, up: bool) {
        py.detach(|| self.card.set_up(up));
    }

    fn shut_down(&self, py: Python<'_>) {
        py.detach(|| self.card.shut_down());
    }

    fn pause(&self, py: Python<'_>) {
        py.detach(|| self.card.pause());
    }

    fn go_on(&self, py: Python<'_>) {
        py.detach(|| self.card.go_on());
    }

    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let state = py.detach(|| self.card.state());
        let state =
            state.ok_or_else(|| PyBlockingIOError::new_err("the guest is giving its card a frame"))?;
        value::to_python(py, &state)
    }

    #[pyo3(signature = (state, /))]
    fn restore(&self, py: Python<'_>, state: &Bound<'_, PyAny>) -> PyResult<()> {
        let state = value::from_python(state)?;
        py.detach(|| self.card.restore(&state)).map_err(value::bad_state)
    }
}
