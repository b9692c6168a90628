//! What of a request goes along with the calls that are made for it.

use http::Extensions;

/// The extensions that the layers in front of a service get to see.
#[derive(Clone, Default)]
pub(crate) struct Carry(Vec<fn(&Extensions, &mut Extensions)>);

// ===== impl Carry =====

impl Carry {
    pub(crate) fn and<T: Clone + Send + Sync + 'static>(mut self) -> Self {
        self.0.push(|from, to| {
            if let Some(extension) = from.get::<T>() {
                to.insert(extension.clone());
            }
        });
        self
    }

    pub(crate) fn copy(&self, from: &Extensions, to: &mut Extensions) {
        self.0.iter().for_each(|copy| copy(from, to));
    }
}
