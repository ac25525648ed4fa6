//! The mark: one line of text by which an object in the world says who manages it.

use std::fmt;

use crate::ident::{EnvironmentName, KindName, Name, ResourceId, SiteName};
use crate::kind::Owner;
use crate::planted::{Defect, has};

/// `site/environment/Kind/name@object`, where `object` is the very thing that the mark stands on
/// (VMID and SMBIOS uuid, machine-id, object name), so that a copied mark marks nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub site: SiteName,
    pub id: ResourceId,
    pub object: String,
}

impl Mark {
    /// Reads a mark; `None` where the text is none, which is what foreign text is.
    pub fn parse(text: &str) -> Option<Self> {
        let (path, object) = text.trim().split_once('@')?;
        let (site, id) = path.split_once('/')?;
        let site = SiteName::new(site).ok()?;
        let id = ResourceId::try_from(id.to_owned()).ok()?;
        (!object.is_empty()).then(|| Self { site, id, object: object.to_owned() })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.site, self.id, self.object)
    }
}

/// Who acts: one environment of one site. It writes marks and tells whose a mark is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realm {
    pub site: SiteName,
    pub environment: EnvironmentName,
}

impl Realm {
    /// The mark for our resource `kind/name` on `object`.
    pub fn mark(&self, kind: KindName, name: &Name, object: impl Into<String>) -> Mark {
        Mark {
            site: self.site.clone(),
            id: ResourceId { environment: self.environment.clone(), kind, name: name.clone() },
            object: object.into(),
        }
    }

    /// Whose the object is, given the mark that was found on it. `Ours` holds the resource's id in this
    /// realm; a mark that names another object was copied together with what it stood on.
    pub fn owner(&self, mark: Option<&Mark>, object: &str) -> Owner {
        match mark {
            None => Owner::Nobody,
            Some(mark) if mark.object != object && !has(Defect::CopiedMarkIsOurs) => Owner::Copied,
            Some(mark) if mark.site == self.site && mark.id.environment == self.environment => {
                Owner::Ours(mark.id.clone())
            }
            Some(mark) => Owner::Other(format!("{}/{}", mark.site, mark.id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realm() -> Realm {
        Realm { site: SiteName::new("home").unwrap(), environment: EnvironmentName::new("core").unwrap() }
    }

    #[test]
    fn a_mark_reads_back_as_written() {
        let mark = realm().mark(KindName::fixed("Host"), &Name::new("nas").unwrap(), "4c4c/x@y");
        assert_eq!(mark.to_string(), "home/core/Host/nas@4c4c/x@y");
        assert_eq!(Mark::parse(&mark.to_string()), Some(mark));
        assert_eq!(Mark::parse("written by hand"), None);
        assert_eq!(Mark::parse("home/core/Host/nas@"), None);
    }

    #[test]
    fn only_a_mark_that_names_its_own_object_owns_it() {
        let mark = realm().mark(KindName::fixed("VirtualMachine"), &Name::new("a").unwrap(), "101/u1");
        assert!(matches!(realm().owner(Some(&mark), "101/u1"), Owner::Ours(id) if id == mark.id));
        assert_eq!(realm().owner(Some(&mark), "102/u2"), Owner::Copied);
        assert_eq!(realm().owner(None, "101/u1"), Owner::Nobody);
        let elsewhere = Realm { site: SiteName::new("cabin").unwrap(), ..realm() };
        assert_eq!(
            elsewhere.owner(Some(&mark), "101/u1"),
            Owner::Other("home/core/VirtualMachine/a".to_owned())
        );
    }
}
