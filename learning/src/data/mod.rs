//! Data sets: what a sample is, and where samples come from.

mod catalogue;
mod csv;
mod dataset;
mod embedded;
mod error;
mod fetch;
mod idx;
mod remote;
mod source;

pub use catalogue::{Entry, Found, catalogue};
pub use dataset::{Dataset, Features, Samples};
pub use error::{DataError, IdxProblem};
pub use fetch::{Fetched, Progress, fetch};
pub use remote::{Remote, RemoteFile};
pub use source::{DataConfig, Places, SYSTEM_DIRECTORIES, cache_directory, load};
