//! Who may do what, by method and path. Pure.

use http::Method;

use super::key::Role;

/// What a request needs, and whether it is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Needs {
    /// The role.
    pub role: Role,
    /// It may change something.
    pub changes: bool,
}

/// Questions that are sent with a body, and change nothing.
const QUESTIONS: [&str; 2] = ["/v1/invariants/check", "/v1/invariants/dry-run"];
/// What only admins may even see.
const ADMINS: [&str; 2] = ["/v1/keys", "/v1/audit"];

/// What this request needs.
pub(super) fn needs(method: &Method, path: &str) -> Needs {
    let safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let changes = !safe && !QUESTIONS.contains(&path);
    let below = |root: &&str| {
        path.strip_prefix(*root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let role = match (ADMINS.iter().any(below), changes) {
        (true, _) => Role::Admin,
        (false, true) => Role::Write,
        (false, false) => Role::Read,
    };
    Needs { role, changes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_writing_and_keys_are_three_things() {
        let of = |method: Method, path: &str| (needs(&method, path).role, needs(&method, path).changes);
        assert_eq!(of(Method::GET, "/v1/invariants"), (Role::Read, false));
        assert_eq!(of(Method::POST, "/v1/invariants"), (Role::Write, true));
        assert_eq!(of(Method::POST, "/v1/invariants/check"), (Role::Read, false));
        assert_eq!(of(Method::DELETE, "/contracts/1"), (Role::Write, true));
        assert_eq!(of(Method::GET, "/v1/keys"), (Role::Admin, false));
        assert_eq!(of(Method::DELETE, "/v1/keys/7"), (Role::Admin, true));
        assert_eq!(of(Method::GET, "/v1/audit"), (Role::Admin, false));
        assert_eq!(of(Method::GET, "/v1/keyset"), (Role::Read, false));
    }
}
