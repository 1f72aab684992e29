use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

fn waiting(number: i64) -> Waiting<i64> {
    Waiting {
        run: number,
        number,
        uid: 1,
        target: "local".to_owned(),
        priority: 0,
        since: at(0),
        asks: Resources::default(),
        held: false,
        not_before: None,
        after: Vec::new(),
    }
}

fn queue(waiting: impl IntoIterator<Item = Waiting<i64>>) -> Queue<i64> {
    let mut queue = Queue::default();
    waiting.into_iter().for_each(|it| queue.push(it));
    queue
}

/// A machine of two cores.
fn machine(_: &str) -> Capacity {
    Capacity {
        places: 4,
        millicpus: Some(2000),
        memory: Some(4 << 30),
        gpus: Some(0),
        others_gpus: 0,
    }
}

fn starts(queue: &Queue<i64>, on: &[On], now: i64) -> Vec<i64> {
    let plan = queue.plan(on, machine, at(now));
    plan.iter().filter(|(_, obstacle)| obstacle.is_none()).map(|(it, _)| it.run).collect()
}

fn order(queue: &Queue<i64>, on: &[On]) -> Vec<i64> {
    queue.plan(on, machine, at(0)).iter().map(|(it, _)| it.run).collect()
}

fn obstacle(queue: &Queue<i64>, on: &[On], now: i64, run: i64) -> Option<Obstacle<i64>> {
    let plan = queue.plan(on, machine, at(now));
    plan.into_iter().find(|(it, _)| it.run == run).unwrap().1
}

fn on(uid: u32, cpus: f64) -> On {
    let asks = Resources { cpus: Some(cpus), ..Resources::default() };
    On { uid, target: "local".to_owned(), share: machine("local").share(&asks) }
}

fn cpus(number: i64, cpus: f64) -> Waiting<i64> {
    Waiting {
        asks: Resources { cpus: Some(cpus), memory_bytes: Some(0), ..Resources::default() },
        ..waiting(number)
    }
}

#[test]
fn first_in_first_out_where_nothing_else_is_said() {
    let queue = queue((1..=6).map(waiting));

    assert_eq!(starts(&queue, &[], 0), [1, 2, 3, 4]);
    assert_eq!(order(&queue, &[]), [1, 2, 3, 4, 5, 6]);
    assert_eq!(obstacle(&queue, &[], 0, 5), Some(Obstacle::Lack(Lack::Places { most: 4 })));
}

#[test]
fn a_higher_priority_goes_first_and_a_lower_one_rises() {
    let low = Waiting { priority: -2, ..waiting(1) };
    let high = |number, since| Waiting { priority: 5, since: at(since), ..waiting(number) };
    let on: Vec<_> = (0..3).map(|_| on(2, 0.1)).collect();

    assert_eq!(starts(&queue([low.clone(), high(2, 0)]), &on, 0), [2]);
    // Seven steps of ageing later it is as high as what has just come, and came before it.
    let step = i64::try_from(AGEING.as_secs()).unwrap();
    assert_eq!(starts(&queue([low.clone(), high(2, 7 * step)]), &on, 7 * step - 1), [2]);
    assert_eq!(starts(&queue([low, high(2, 7 * step)]), &on, 7 * step), [1]);
}

#[test]
fn users_take_turns() {
    let of = |number, uid| Waiting { uid, ..waiting(number) };
    let many = (1..=10).map(|number| of(number, 1));
    let queue = queue(many.chain([of(11, 2), of(12, 2)]));

    assert_eq!(starts(&queue, &[], 0), [1, 11, 2, 12]);
    // What a user has on counts.
    let busy = [on(1, 0.1), on(1, 0.1)];
    assert_eq!(starts(&queue, &busy, 0), [11, 12]);
    // Age alone does not let the first come in front of everyone.
    assert_eq!(starts(&queue, &[], 100_000), [1, 11, 2, 12]);
}

#[test]
fn what_waits_for_something_else_is_in_nobodys_way() {
    let held = Waiting { held: true, priority: 9, ..waiting(1) };
    let after = Waiting { after: vec![77], ..waiting(2) };
    let later = Waiting { not_before: Some(at(60)), ..waiting(3) };
    let queue = queue([held, after, later, waiting(4)]);

    assert_eq!(starts(&queue, &[], 0), [4]);
    assert_eq!(obstacle(&queue, &[], 0, 1), Some(Obstacle::Held));
    assert_eq!(obstacle(&queue, &[], 0, 2), Some(Obstacle::After(vec![77])));
    assert_eq!(obstacle(&queue, &[], 0, 3), Some(Obstacle::NotBefore(at(60))));
    assert_eq!(queue.next_time(at(0)), Some(at(60)));
    assert_eq!(starts(&queue, &[], 60), [3, 4]);
    assert_eq!(queue.next_time(at(60)), None);
}

#[test]
fn a_run_that_does_not_fit_lets_others_pass_and_then_no_more() {
    let on = [on(2, 1.0)];
    let queue = queue([cpus(1, 2.0), cpus(2, 0.5)]);
    let patience = i64::try_from(PATIENCE.as_secs()).unwrap();

    let lack = Lack::Cpus { wanted: 2000, free: 1000 };
    assert_eq!(starts(&queue, &on, patience - 1), [2]);
    assert_eq!(starts(&queue, &on, patience), Vec::<i64>::new());
    assert_eq!(obstacle(&queue, &on, patience, 1), Some(Obstacle::Lack(lack)));
    assert_eq!(obstacle(&queue, &on, patience, 2), Some(Obstacle::KeptFor(1)));
    assert_eq!(starts(&queue, &[], patience), [1]);
}

#[test]
fn a_run_that_asks_for_what_there_is_not_starts_to_be_told_so() {
    let gpu = Waiting { asks: Resources { gpus: Some(1), ..Resources::default() }, ..waiting(1) };
    assert_eq!(starts(&queue([gpu, waiting(2)]), &[], 1_000_000), [1, 2]);
}

#[test]
fn who_waits_for_another_target_is_in_nobodys_way() {
    let elsewhere = |number| Waiting { target: "gpu-vm".to_owned(), ..waiting(number) };
    let queue = queue([waiting(1), waiting(2), elsewhere(3), elsewhere(4)]);
    let full: Vec<_> = (0..4).map(|_| on(1, 0.1)).collect();

    assert_eq!(starts(&queue, &full, 0), [3, 4]);
    assert_eq!(queue.waiting_for("gpu-vm"), 2);
    assert_eq!(order(&queue, &full), [3, 4, 1, 2]);
}

prop_compose! {
    fn any_waiting(number: i64)(
        uid in 0..4_u32,
        target in 0..2_u8,
        priority in -3..4,
        since in 0..5000_i64,
        cpus in proptest::option::of(0.1..3.0),
        memory in proptest::option::of(0..(6_u64 << 30)),
        held in proptest::bool::weighted(0.1),
    ) -> Waiting<i64> {
        Waiting {
            uid,
            target: target.to_string(),
            priority,
            since: at(since),
            asks: Resources { cpus, memory_bytes: memory, ..Resources::default() },
            held,
            ..waiting(number)
        }
    }
}

fn any_queue() -> impl Strategy<Value = Vec<Waiting<i64>>> {
    (0..60_i64).prop_flat_map(|count| (0..count).map(any_waiting).collect::<Vec<_>>())
}

/// Plays a queue to its end: what is given a place is over one step later. Returns the step in which
/// each run was started.
fn played(mut queue: Queue<i64>) -> HashMap<i64, usize> {
    let (mut on, mut started) = (Vec::new(), HashMap::new());
    for step in 0..10_000 {
        let now = at(5000 + i64::try_from(step).unwrap() * 60);
        let plan = queue.plan(&on, machine, now);
        let starting: Vec<_> =
            plan.iter().filter(|(_, it)| it.is_none()).map(|(it, _)| (*it).clone()).collect();
        on.clear();
        for it in starting {
            queue.remove(&it.run).unwrap();
            started.insert(it.run, step);
            let share = machine(&it.target).share(&it.asks);
            on.push(On { uid: it.uid, target: it.target, share });
        }
        if queue.iter().all(|it| it.held) {
            return started;
        }
    }
    panic!("{} wait for ever", queue.len());
}

proptest! {
    #[test]
    fn nothing_is_overbooked_and_no_place_is_left_that_somebody_could_have(
        all in any_queue(), busy in 0..5_usize, now in 5000..20_000_i64,
    ) {
        let on: Vec<_> = (0..busy).map(|_| On { target: "0".to_owned(), ..on(1, 0.4) }).collect();
        let queue = queue(all);
        let plan = queue.plan(&on, machine, at(now));

        let runs: HashSet<_> = plan.iter().map(|(it, _)| it.run).collect();
        prop_assert_eq!(runs.len(), queue.len());
        prop_assert_eq!(plan.len(), queue.len());
        for target in ["0", "1"] {
            let capacity = machine(target);
            let mut used = Used::default();
            on.iter().filter(|it| it.target == target).for_each(|it| used.add(&it.share));
            for (it, _) in plan.iter().filter(|(it, obstacle)| it.target == target && obstacle.is_none()) {
                prop_assert!(!it.held);
                let share = capacity.share(&it.asks);
                prop_assert_eq!(capacity.lacks(&used, &share), None);
                used.add(&share);
            }
            for (it, obstacle) in plan.iter().filter(|(it, _)| it.target == target) {
                if matches!(obstacle, Some(Obstacle::Lack(_))) {
                    prop_assert!(capacity.lacks(&used, &capacity.share(&it.asks)).is_some());
                }
            }
        }
    }

    #[test]
    fn a_decision_does_not_depend_on_the_order_in_memory(all in any_queue(), now in 0..9000_i64) {
        let turned = queue(all.iter().rev().cloned());
        let straight = queue(all);
        let runs = |queue: &Queue<i64>| -> Vec<_> {
            let plan = queue.plan(&[], machine, at(now));
            plan.iter().filter(|(_, it)| it.is_none()).map(|(it, _)| it.run).collect()
        };
        prop_assert_eq!(runs(&straight), runs(&turned));
    }

    #[test]
    fn nothing_that_may_start_waits_for_ever(all in any_queue()) {
        let held: HashSet<_> = all.iter().filter(|it| it.held).map(|it| it.run).collect();
        let count = all.len();
        let started = played(queue(all));
        prop_assert_eq!(started.len(), count - held.len());
        prop_assert!(started.keys().all(|run| !held.contains(run)));
    }

    #[test]
    fn one_users_equal_runs_start_in_their_order(count in 1..40_i64) {
        let started = played(queue((0..count).map(waiting)));
        prop_assert!((1..count).all(|run| started[&(run - 1)] <= started[&run]));
    }
}

#[test]
fn a_low_priority_is_not_starved_by_a_stream_of_high_ones() {
    let mut queue = queue([Waiting { priority: -5, ..cpus(0, 2.0) }]);
    let step = i64::try_from(AGEING.as_secs()).unwrap();
    let ever = (1..100).find(|number| {
        let now = number * step / 2;
        // Each time something new and urgent is there, and takes all.
        queue.push(Waiting { priority: 5, since: at(now), uid: 2, ..cpus(*number, 2.0) });
        let started = starts(&queue, &[], now);
        started.iter().for_each(|run| drop(queue.remove(run)));
        started.contains(&0)
    });
    assert!(ever.is_some());
}
