//! Texts that are checked once, where they are made: the plumbing of every such newtype.

/// Defines a newtype over a text whose one constructor checks it; its clones share the text, since names are cloned far
/// more often than made. `$check` takes the text and gives `Result<(), $error>`. The JSON Schema is left to the caller,
/// since only the rule knows its pattern.
#[macro_export]
macro_rules! checked_text {
    ($(#[$doc:meta])* $type:ident, $error:ty, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(::std::sync::Arc<str>);

        impl $type {
            /// Checks the text and keeps it as it is.
            pub fn new(text: impl Into<String>) -> Result<Self, $error> {
                let text = text.into();
                let check: fn(&str) -> Result<(), $error> = $check;
                check(&text).map(|()| Self(text.into()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = $error;
            fn try_from(text: String) -> Result<Self, $error> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(text: $type) -> Self {
                text.as_str().to_owned()
            }
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
