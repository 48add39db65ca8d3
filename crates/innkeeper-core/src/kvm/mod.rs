//! The hardware-assist engine: the host's KVM.
