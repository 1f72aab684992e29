//! Tokens: what is kept of them, which is never the token itself.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use snapshots::digest::Digest;

use super::row::time;
use super::{SqlContext, Store, StoreError};
use crate::peer::{Peer, Scope};
use crate::token::TokenScope;

/// The most that a user may have.
const MOST: i64 = 100;

/// An expired token is listed for so long, and gone when its user makes another.
const KEPT_EXPIRED: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How exactly it is known when a token was last used: each write costs a transaction.
const USE: SignedDuration = SignedDuration::from_mins(1);

/// What is known of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenRow {
    /// What people call it by, besides its name.
    pub(crate) id: String,
    /// Whose it is, and as whom its bearer acts.
    pub(crate) uid: u32,
    /// What its user called it.
    pub(crate) name: String,
    /// What it is good for.
    pub(crate) scope: TokenScope,
    /// When it was made.
    pub(crate) created: Timestamp,
    /// Until when it is good.
    pub(crate) expires: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub(crate) last_used: Option<Timestamp>,
}

const COLUMNS: &str = "id, uid, name, scope, created_at, expires_at, last_used_at";

fn of_row(row: &Row) -> rusqlite::Result<TokenRow> {
    let scope: String = row.get(3)?;
    Ok(TokenRow {
        id: row.get(0)?,
        uid: row.get(1)?,
        name: row.get(2)?,
        // A scope of a version to come is the smallest there is.
        scope: TokenScope::named(&scope).unwrap_or(TokenScope::Read),
        created: time(row.get(4)?),
        expires: row.get::<_, Option<i64>>(5)?.map(time),
        last_used: row.get::<_, Option<i64>>(6)?.map(time),
    })
}

impl Store {
    /// Keeps a new token by its digest.
    ///
    /// # Errors
    ///
    /// Its user has one of that name, or as many as one may have.
    pub(crate) async fn add_token(&self, digest: Digest, row: TokenRow) -> Result<(), StoreError> {
        self.writer.write(move |transaction| add(transaction, &digest, &row)).await
    }

    /// Returns the tokens in `scope`, the oldest first.
    pub(crate) async fn tokens(&self, scope: Scope) -> Result<Vec<TokenRow>, StoreError> {
        self.readers.read(move |connection| listed(connection, scope, None)).await
    }

    /// Returns the token with that digest.
    pub(crate) async fn token(&self, digest: Digest) -> Result<Option<TokenRow>, StoreError> {
        self.readers
            .read(move |connection| {
                let action = "look up a token";
                let sql = format!("select {COLUMNS} from tokens where digest = ?1");
                let mut statement = connection.prepare_cached(&sql).doing(action)?;
                statement.query_row([digest.to_string()], of_row).optional().doing(action)
            })
            .await
    }

    /// Notes that a token was used, unless that is noted for this minute.
    pub(crate) async fn token_used(
        &self,
        row: &TokenRow,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if row.last_used.is_some_and(|last| now.duration_since(last) < USE) {
            return Ok(());
        }
        let id = row.id.clone();
        self.writer
            .write(move |transaction| {
                let sql = "update tokens set last_used_at = ?2
                    where id = ?1 and coalesce(last_used_at, 0) <= ?2 - ?3";
                let exact = i64::try_from(USE.as_micros()).unwrap_or(i64::MAX);
                let noted = transaction.execute(sql, params![id, now.as_microsecond(), exact]);
                noted.map(drop).doing("note the use of a token")
            })
            .await
    }

    /// Forgets the token that `reference` means to `peer`, by its id or its name, and returns it.
    /// Their own go before those of others.
    ///
    /// # Errors
    ///
    /// None or several could be meant. Tokens that are not for this peer are not there.
    pub(crate) async fn remove_token(
        &self,
        reference: &str,
        peer: Peer,
    ) -> Result<TokenRow, StoreError> {
        let reference = reference.to_owned();
        self.writer.write(move |transaction| remove(transaction, &reference, peer)).await
    }
}

fn add(transaction: &Transaction, digest: &Digest, row: &TokenRow) -> Result<(), StoreError> {
    let action = "keep a token";
    let old = row.created.checked_sub(KEPT_EXPIRED).unwrap_or(Timestamp::UNIX_EPOCH);
    transaction
        .execute(
            "delete from tokens where uid = ?1 and expires_at < ?2",
            params![row.uid, old.as_microsecond()],
        )
        .doing(action)?;
    let (all, same): (i64, i64) = transaction
        .query_row(
            "select count(*), count(*) filter (where name = ?2) from tokens where uid = ?1",
            params![row.uid, row.name],
            |found| Ok((found.get(0)?, found.get(1)?)),
        )
        .doing(action)?;
    if same > 0 {
        return Err(StoreError::TokenExists { name: row.name.clone() });
    }
    if all >= MOST {
        return Err(StoreError::TooManyTokens { limit: MOST });
    }
    transaction
        .execute(
            "insert into tokens (digest, id, uid, name, scope, created_at, expires_at)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                digest.to_string(),
                row.id,
                row.uid,
                row.name,
                row.scope.name(),
                row.created.as_microsecond(),
                row.expires.map(Timestamp::as_microsecond),
            ],
        )
        .doing(action)?;
    Ok(())
}

fn remove(transaction: &Transaction, reference: &str, peer: Peer) -> Result<TokenRow, StoreError> {
    let mut found = Vec::new();
    for scope in peer.scopes() {
        if found.is_empty() {
            found = listed(transaction, scope, Some(reference))?;
        }
    }
    let token = match found.len() {
        0 => return Err(StoreError::NoSuchToken { reference: reference.to_owned() }),
        1 => found.remove(0),
        _ => {
            let candidates = found.into_iter().map(|row| row.id).collect();
            return Err(StoreError::AmbiguousToken { reference: reference.to_owned(), candidates });
        }
    };
    let removed = transaction.execute("delete from tokens where id = ?1", [&token.id]);
    removed.doing("revoke a token")?;
    Ok(token)
}

fn listed(
    connection: &Connection,
    scope: Scope,
    reference: Option<&str>,
) -> Result<Vec<TokenRow>, StoreError> {
    let action = "list tokens";
    let sql = format!(
        "select {COLUMNS} from tokens
         where (?1 is null or uid = ?1) and (?2 is null or id = ?2 or name = ?2)
         order by created_at, id"
    );
    let mut statement = connection.prepare_cached(&sql).doing(action)?;
    let rows = statement.query_map(params![scope.uid(), reference], of_row);
    rows.and_then(Iterator::collect).doing(action)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Token;

    const ANA: Peer = Peer { uid: 7, rules: false };
    const RULER: Peer = Peer { uid: 1, rules: true };

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("agent.db")).unwrap();
        (directory, store)
    }

    fn row(uid: u32, name: &str, number: u32) -> TokenRow {
        TokenRow {
            id: format!("{number:08x}"),
            uid,
            name: name.to_owned(),
            scope: TokenScope::Write,
            created: Timestamp::from_second(1_700_000_000 + i64::from(number)).unwrap(),
            expires: None,
            last_used: None,
        }
    }

    #[tokio::test]
    async fn a_token_is_found_by_its_digest_alone_and_the_file_holds_no_token() {
        let (directory, store) = store();
        let [token, other] = [Token::generate(), Token::generate()];
        let ours = TokenRow { expires: Some(Timestamp::UNIX_EPOCH), ..row(7, "ci", 1) };

        store.add_token(token.digest(), ours.clone()).await.unwrap();

        assert_eq!(store.token(token.digest()).await.unwrap(), Some(ours));
        assert_eq!(store.token(other.digest()).await.unwrap(), None);
        drop(store);
        for file in std::fs::read_dir(directory.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            let secret = token.reveal().as_bytes();
            assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        }
    }

    #[tokio::test]
    async fn names_are_each_users_own_and_a_ruler_means_theirs_first() {
        let (_directory, store) = store();
        for (uid, name, number) in [(7, "ci", 1), (8, "ci", 2), (1, "ci", 3), (8, "x", 4)] {
            let row = row(uid, name, number);
            store.add_token(Token::generate().digest(), row).await.unwrap();
        }
        let twice = store.add_token(Token::generate().digest(), row(7, "ci", 5)).await;
        assert!(matches!(twice, Err(StoreError::TokenExists { .. })), "{twice:?}");

        let strange = store.remove_token("x", ANA).await;
        assert!(matches!(strange, Err(StoreError::NoSuchToken { .. })), "{strange:?}");
        assert_eq!(store.remove_token("ci", ANA).await.unwrap().uid, 7);
        assert_eq!(store.remove_token("ci", RULER).await.unwrap().uid, 1);
        assert_eq!(store.remove_token("00000004", RULER).await.unwrap().uid, 8);
        assert_eq!(store.tokens(Scope::All).await.unwrap(), [row(8, "ci", 2)]);
        assert_eq!(store.tokens(Scope::Of(7)).await.unwrap(), []);

        store.add_token(Token::generate().digest(), row(9, "ci", 6)).await.unwrap();
        let several = store.remove_token("ci", RULER).await;
        let Err(StoreError::AmbiguousToken { candidates, .. }) = several else { panic!() };
        assert_eq!(candidates, ["00000002", "00000006"]);
    }

    #[tokio::test]
    async fn a_use_is_noted_once_a_minute() {
        let (_directory, store) = store();
        let digest = Token::generate().digest();
        store.add_token(digest, row(7, "ci", 1)).await.unwrap();
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();

        for (now, noted) in [(0, 0), (59, 0), (60, 60), (61, 60)] {
            // As a request that looked it up before others did.
            let stale = row(7, "ci", 1);
            store.token_used(&stale, at(now)).await.unwrap();
            let found = store.token(digest).await.unwrap().unwrap();
            assert_eq!(found.last_used, Some(at(noted)), "{now}");
        }
        let (before, _) = store.writes();
        let found = store.token(digest).await.unwrap().unwrap();
        store.token_used(&found, at(62)).await.unwrap();
        assert_eq!(store.writes().0, before, "nothing is written");
    }

    #[tokio::test]
    async fn a_user_has_at_most_a_hundred_and_long_expired_ones_go() {
        let (_directory, store) = store();
        let expired = TokenRow { expires: Some(Timestamp::UNIX_EPOCH), ..row(7, "old", 0) };
        store.add_token(Token::generate().digest(), expired).await.unwrap();
        for number in 1..=100 {
            let row = row(7, &format!("t{number}"), number);
            store.add_token(Token::generate().digest(), row).await.unwrap();
        }

        let more = store.add_token(Token::generate().digest(), row(7, "more", 101)).await;

        assert!(matches!(more, Err(StoreError::TooManyTokens { .. })), "{more:?}");
        assert!(store.tokens(Scope::Of(7)).await.unwrap().iter().all(|row| row.name != "old"));
        store.add_token(Token::generate().digest(), row(8, "more", 102)).await.unwrap();
    }
}
