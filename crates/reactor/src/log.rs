//! Log macros that are nothing without the feature `tracing`.

macro_rules! trace {
    ($message:literal, $($field:ident),*) => {
        #[cfg(feature = "tracing")]
        tracing::trace!($($field = ?$field),*, $message);
        #[cfg(not(feature = "tracing"))]
        let _ = ($(&$field),*);
    };
}

#[cfg(feature = "net")]
macro_rules! warning {
    ($message:literal, $($field:ident),*) => {
        #[cfg(feature = "tracing")]
        tracing::warn!($($field = ?$field),*, $message);
        #[cfg(not(feature = "tracing"))]
        let _ = ($(&$field),*);
    };
}

pub(crate) use trace;
#[cfg(feature = "net")]
pub(crate) use warning;
