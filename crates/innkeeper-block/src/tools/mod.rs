//! The image tools: what `inn image` does to disk images that no machine runs from.
//!
//! Two rules hold for all of them. A new image gets its name only when it is whole (`staged`). An image that is
//! changed in place is changed by writing everything new beside the old and then one sector of its header, so that
//! a cut at any moment leaves the image before or the image after.

pub mod build;
mod census;
pub mod chain;
pub mod check;
pub mod commit;
pub mod compare;
pub mod convert;
pub mod create;
mod error;
mod image;
pub mod info;
pub mod layer;
pub mod map;
mod progress;
pub mod raw;
pub mod rebase;
pub mod resize;
pub mod snapshot;
mod source;
mod staged;

pub use build::Layout;
pub use chain::Chain;
pub use create::NewImage;
pub use error::{Result, ToolError};
pub use progress::{Progress, Watch, watched};
pub use raw::Preallocation;

#[cfg(test)]
mod tests;
