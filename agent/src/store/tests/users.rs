//! What users name, have and may have.

use super::*;

#[tokio::test]
async fn a_user_names_their_own_runs_and_no_others() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let [ana, ben] = [7, 8].map(|uid| Peer { uid, rules: false });
    let mut ids = Vec::new();
    for (number, peer) in [(1, ana), (2, ben), (3, ana)] {
        let mut run = NewRun { uid: peer.uid, ..new_run("exp", number) };
        run.store = StoreOf::User(peer.uid);
        run.display_name = "same-name".to_owned();
        ids.push(run.id.clone());
        store.submit(run).await.unwrap();
    }

    let found = |reference: String, peer| async move { store.resolve(&reference, peer).await.ok() };
    assert_eq!(found("@".into(), ana).await.as_ref(), Some(&ids[2]));
    assert_eq!(found("@".into(), ben).await.as_ref(), Some(&ids[1]));
    assert_eq!(found("same-name".into(), ben).await.as_ref(), Some(&ids[1]));
    assert_eq!(found("exp".into(), ben).await.as_ref(), Some(&ids[1]));
    assert_eq!(found(ids[0].to_string(), ben).await, None);
    let ruler = Peer { uid: 8, rules: true };
    assert_eq!(found("same-name".into(), ruler).await.as_ref(), Some(&ids[1]), "theirs goes first");
    assert_eq!(found(ids[0].to_string(), ruler).await.as_ref(), Some(&ids[0]));
    assert_eq!(found("@".into(), Peer { uid: 9, rules: true }).await, None);

    assert_eq!(store.ids_of(7).await.unwrap(), [ids[0].clone(), ids[2].clone()]);
    assert_eq!(
        (store.unfinished_of(7).await.unwrap(), store.unfinished_of(9).await.unwrap()),
        (2, 0)
    );
    let source = request(Digest::of(b"source")).snapshot_id;
    let stores = |scope| async move { store.stores_of(source, None, scope).await.unwrap() };
    assert_eq!(stores(Scope::Of(8)).await, [StoreOf::User(8)].into());
    assert_eq!(stores(Scope::All).await, [StoreOf::User(7), StoreOf::User(8)].into());
    let other = store.stores_of(source, Some(source), Scope::All).await.unwrap();
    assert!(other.is_empty(), "none was built from that context");
    assert!(store.snapshots_in_use(StoreOf::Agent, Vec::new()).await.unwrap().is_empty());
    assert_eq!(store.snapshots_in_use(StoreOf::User(8), Vec::new()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_user_has_no_more_runs_that_are_not_over_than_they_may() {
    let fixture = Fixture::new();
    let run = |number| NewRun { max_runs: Some(2), ..new_run("exp", number) };
    let [first, second, third] = [1, 2, 3].map(run);
    let id = first.id.clone();
    let mut again = second.clone();
    again.idempotency = Some(("key".to_owned(), Digest::of(b"asked")));

    fixture.store.submit(first).await.unwrap();
    fixture.store.submit(again.clone()).await.unwrap();
    let refused = fixture.store.submit(third.clone()).await.unwrap_err();
    assert!(matches!(refused, StoreError::TooMany { used: 2, limit: 2 }), "{refused:?}");
    // What was accepted before is told of again.
    assert!(matches!(fixture.store.submit(again).await.unwrap(), Accepted::Before { .. }));
    for event in [RunEvent::CancelAsked] {
        fixture.store.apply(&id, Change::now(event)).await.unwrap();
    }
    fixture.store.submit(third).await.unwrap();
}
