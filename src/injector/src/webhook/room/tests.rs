//! Time is paused: it moves only if nothing else can happen.

use std::future::{pending, ready};
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use tokio::time::{Instant, advance, sleep};

use super::{NoRoom, Room, STEP};

const WAIT: Duration = Duration::from_secs(2);

/// Room for eight steps, and bodies of at most three.
fn room() -> Room {
    Room::new(8 * STEP, 3 * STEP, WAIT)
}

fn free(room: &Room) -> usize {
    room.lock().free
}

#[tokio::test(start_paused = true)]
async fn room_is_granted_in_steps_as_bytes_arrive_and_comes_back() {
    let room = room();
    let share = room.share();
    for (bytes, steps) in [(0, 0), (1, 1), (STEP, 1), (STEP + 1, 2), (3 * STEP, 3)] {
        share.hold(bytes).await.unwrap();
        assert_eq!(free(&room), (8 - steps) * STEP, "{bytes} bytes");
    }
    drop(share);
    assert_eq!(free(&room), 8 * STEP);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_keeps_us_waiting_gives_way_to_one_that_arrives() {
    let room = room();
    let slow = [room.share(), room.share(), room.share(), room.share(), room.share()];
    for share in &slow {
        share.hold(1).await.unwrap();
    }
    let stuck = join_all(slow.iter().map(|share| share.wait_for(pending::<()>())));
    let quick = async {
        sleep(Duration::from_secs(1)).await;
        let (share, started) = (room.share(), Instant::now());
        share.wait_for(ready(())).await.unwrap();
        share.hold(2 * STEP).await.unwrap();
        share.is_whole().unwrap();
        assert_eq!(started.elapsed(), Duration::ZERO);
        // Two steps, the reserve of three, and two first steps of others: four of the slow ones had to go.
        assert_eq!(free(&room), 5 * STEP);
    };
    tokio::select! {
        _ = stuck => panic!("all were sent away"),
        () = quick => {}
    }
    assert_eq!(slow.iter().filter(|share| share.change(|_| ()) == Err(NoRoom)).count(), 4);
}

#[tokio::test(start_paused = true)]
async fn who_lost_its_room_hears_so_at_once() {
    let room = room();
    let (slow, quick) = (room.share(), room.share());
    slow.hold(3 * STEP).await.unwrap();
    let mut waiting = Box::pin(slow.wait_for(pending::<()>()));
    assert_eq!((&mut waiting).now_or_never(), None);
    advance(Duration::from_millis(50)).await;
    quick.hold(3 * STEP).await.unwrap();
    assert_eq!(waiting.await, Err(NoRoom));
    assert_eq!(slow.hold(1).await, Err(NoRoom));
}

#[tokio::test(start_paused = true)]
async fn bodies_that_all_wait_for_room_end_one_after_the_other() {
    let room = room();
    let shares: Vec<_> = (0..6).map(|_| room.share()).collect();
    let started = Instant::now();
    join_all(shares.into_iter().map(async |share| {
        for steps in 1..=3 {
            share.wait_for(ready(())).await.unwrap();
            share.hold(steps * STEP).await.unwrap();
            tokio::task::yield_now().await;
        }
        share.is_whole().unwrap();
        sleep(Duration::from_millis(1)).await;
    }))
    .await;
    assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
    assert_eq!(free(&room), 8 * STEP);
}

#[tokio::test(start_paused = true)]
async fn without_room_a_body_waits_only_so_long() {
    let room = room();
    let whole = [room.share(), room.share()];
    for share in &whole {
        share.hold(3 * STEP).await.unwrap();
        share.is_whole().unwrap();
    }
    let (share, started) = (room.share(), Instant::now());
    assert_eq!(share.hold(3 * STEP).await, Err(NoRoom));
    assert_eq!(started.elapsed(), WAIT);
    drop(whole);
    share.hold(3 * STEP).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn large_bodies_leave_room_for_small_ones() {
    let room = room();
    let large = [room.share(), room.share()];
    let growing = join_all(large.iter().map(async |share| {
        for steps in 1..=3 {
            share.wait_for(ready(())).await?;
            share.hold(steps * STEP).await?;
        }
        pending::<Result<(), NoRoom>>().await
    }));
    let small = async {
        sleep(Duration::from_millis(1)).await;
        let (share, started) = (room.share(), Instant::now());
        share.hold(STEP).await.unwrap();
        assert_eq!(started.elapsed(), Duration::ZERO);
    };
    tokio::select! {
        _ = growing => panic!("the large bodies ended"),
        () = small => {}
    }
}
