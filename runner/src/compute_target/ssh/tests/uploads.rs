//! Snapshots on their way to a machine.

use super::super::upload::NotSent;
use super::*;

#[test]
fn an_unchanged_snapshot_takes_two_questions_and_few_bytes() {
    let fixture = Fixture::new();
    let files = 3000;
    let id = fixture.snapshot(files);
    let send = || {
        let sent = fixture.target.pool.with_client(|client| {
            upload::send(&fixture.objects, &id, client, &AtomicBool::new(false))
                .map_err(|error| panic!("cannot send: {error:?}"))
        });
        sent.unwrap()
    };
    let first = send();
    assert!(first.objects > files as u64, "{first:?}");

    let before = fixture.traffic.sent.load(Ordering::Relaxed);
    let again = send();
    let bytes = fixture.traffic.sent.load(Ordering::Relaxed) - before;
    // The third is to prepare the run.
    assert_eq!((again.objects, again.round_trips), (0, 2));
    assert!(bytes < 1024 * files as u64 / 1000, "{bytes} bytes");
    assert_eq!(fixture.traffic.connections.load(Ordering::Relaxed), 1);
}

#[test]
fn an_upload_that_is_cut_again_and_again_arrives() {
    let fixture = Fixture::new();
    let source = fixture.base.path().join("noise");
    fs::create_dir(&source).unwrap();
    for n in 0..60 {
        fs::write(source.join(format!("f{n}")), noise(20_000, n)).unwrap();
    }
    let options = SnapshotOptions::default();
    let id = snapshot::take(&source, &fixture.objects, &options, &()).unwrap().record.id;
    // No connection carries more than half of it.
    fixture.cut_after(11, 600_000);
    let mut cut = 0;
    loop {
        let sent = fixture.target.pool.with_client(|client| {
            upload::send(&fixture.objects, &id, client, &AtomicBool::new(false)).map_err(|error| {
                match error {
                    NotSent::Remote(error) => error,
                    NotSent::Home(error) => panic!("{error}"),
                }
            })
        });
        match sent {
            Ok(_) => break,
            Err(_) => cut += 1,
        }
        fixture.target.pool.contact.wait(Duration::from_secs(60));
    }
    assert!(cut > 2, "{cut} cuts");
    let there = LocalStore::open(&fixture.there.store()).unwrap();
    assert_eq!(there.record(&id).unwrap().unwrap().id, id);
}

#[test]
fn an_upload_that_is_cancelled_ends() {
    let fixture = Fixture::new();
    let id = fixture.snapshot(10);
    let cancelled = AtomicBool::new(true);
    let sent = fixture.target.pool.with_client(|client| {
        let sent = upload::send(&fixture.objects, &id, client, &cancelled);
        assert!(matches!(sent, Err(NotSent::Remote(RemoteError::Local { .. }))), "{sent:?}");
        // The connection is still good for something else.
        client.ask::<Hello>(&Request::Hello { protocol: PROTOCOL })
    });
    assert!(sent.is_ok(), "{sent:?}");
    let there = LocalStore::open(&fixture.there.store()).unwrap();
    assert!(there.record(&id).unwrap().is_none());
}
