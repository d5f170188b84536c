//! How many files may be open: every connection is one.

/// Below this a busy house may run out of them: two for each call, one for each connection, and the database.
pub const FEW: u64 = 4096;

/// The limit for this process; `None` where there is none, or nobody says it (`/proc/self/limits`, Linux).
pub fn limit() -> Option<u64> { soft(&std::fs::read_to_string("/proc/self/limits").ok()?) }

/// What to do about this limit, if it is low.
pub fn advice(limit: Option<u64>) -> Option<String> {
    let limit = limit.filter(|limit| *limit < FEW)?;
    Some(format!(
        "only {limit} files may be open, and every connection is one: allow {FEW} or more (`LimitNOFILE=` of a systemd unit, `--ulimit nofile=` of a container, `ulimit -n` of a shell)"
    ))
}

fn soft(limits: &str) -> Option<u64> { limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok() }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_limit_is_named_and_an_unknown_one_is_not() {
        let of = |soft_is: &str| soft(&format!("Limit                     Soft Limit           Hard Limit           Units\nMax open files            {soft_is:<20} 524288               files\n"));
        assert_eq!((of("1024"), of("unlimited"), soft("")), (Some(1024), None, None));
        assert!(advice(Some(1024)).is_some_and(|text| text.contains("1024") && text.contains("LimitNOFILE")));
        assert_eq!((advice(Some(FEW)), advice(None)), (None, None));
    }
}
