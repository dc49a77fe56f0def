//! Secret values: zeroed on drop, hidden in `Debug`, compared in constant time.

use std::fmt;

use zeroize::Zeroize;

/// A secret. Has no `Display`, no `Clone` and no serialisation; each use names [`Secret::expose`].
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the one call that needs it.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize + AsRef<[u8]>> Secret<T> {
    /// Whether the other value is equal. The time taken depends only on the length.
    pub fn eq_ct(&self, other: &[u8]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.0.as_ref(), other).is_ok()
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v62_a_secret_does_not_print_itself() {
        let secret = Secret::new(String::from("hunter2"));
        assert_eq!(format!("{secret:?}"), "<secret>");
        assert!(secret.eq_ct(b"hunter2"));
        assert!(!secret.eq_ct(b"hunter3"));
        assert!(!secret.eq_ct(b"hunter"));
    }

    #[test]
    fn v62_a_secret_is_zeroed_when_it_ends() {
        struct Noted<'n>(&'n std::cell::Cell<u32>);
        impl Zeroize for Noted<'_> {
            fn zeroize(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let zeroed = std::cell::Cell::new(0);
        let secret = Secret::new(Noted(&zeroed));
        assert_eq!(secret.expose().0.get(), 0);
        drop(secret);
        assert_eq!(zeroed.get(), 1);
    }
}
