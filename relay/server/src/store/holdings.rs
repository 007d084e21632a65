//! How many of what the database holds, for the admin; and whether it can be read at all.

use rusqlite::Connection;

/// Counts over all accounts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Registered devices.
    pub devices: u64,
    /// Webhooks.
    pub webhooks: u64,
    /// Webhook calls that were answered with 2xx, ever.
    pub calls: u64,
}

/// Counts. Its cost grows with what there is: for the admin alone.
pub fn count(c: &Connection) -> Result<Holdings, rusqlite::Error> {
    let sql = "SELECT (SELECT count(*) FROM devices), (SELECT count(*) FROM webhooks), (SELECT coalesce(sum(hooked), 0) FROM activity)";
    c.prepare_cached(sql)?.query_row([], |row| {
        let at = |index| row.get::<_, i64>(index).map(i64::cast_unsigned);
        Ok(Holdings { devices: at(0)?, webhooks: at(1)?, calls: at(2)? })
    })
}

/// Reads a row of blobs, at no cost that grows.
pub fn read_blobs(c: &Connection) -> Result<(), rusqlite::Error> {
    c.prepare_cached("SELECT EXISTS (SELECT * FROM blobs)")?.query_row([], |_| Ok(()))
}

/// Reads a row of audit chains, at no cost that grows.
pub fn read_audit(c: &Connection) -> Result<(), rusqlite::Error> {
    c.prepare_cached("SELECT EXISTS (SELECT * FROM audit)")?.query_row([], |_| Ok(()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::store::migrations;

    #[test]
    fn what_cannot_be_read_is_an_error_and_nothing_else_is() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrations::apply(&mut connection, migrations::Release::THIS).unwrap();
        assert_eq!(count(&connection).unwrap(), Holdings::default());
        read_blobs(&connection).unwrap();
        read_audit(&connection).unwrap();
        connection.execute_batch("DROP TABLE audit").unwrap();
        assert!(read_audit(&connection).is_err());
        read_blobs(&connection).unwrap();
    }
}
