//! When a program learns of a change: pure, time comes in as what has passed since the program was started.

use std::time::Duration;

use keyvault_common::plan::{ExecPlan, OnChange, RESTART_EXIT_CODE, ReloadSignal, RestartPolicy};

/// Ended for new values under `restartPolicy: OnFailure`, where 0 would mean that all is done.
pub(super) const RESTARTED: u8 = RESTART_EXIT_CODE;

/// What to do to the program now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Tell it to read its values again.
    Signal(ReloadSignal),
    /// Ask it to end, since the kubelet starts it again.
    End,
    /// It did not end in time.
    Kill,
}

/// How far a program is between its start and its end.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// As far as is known it has the values of now.
    Current,
    /// It learns of a change at this time.
    Due(Duration),
    /// It was asked to end, and is killed at this time.
    Ending(Duration),
    /// It was killed.
    Killed,
    /// Somebody else ends it, and that is the end of it.
    Leaving,
}

/// Decides; does nothing itself.
#[derive(Debug)]
pub(super) struct Reload {
    action: Option<OnChange>,
    spread: Duration,
    grace: Duration,
    apart: Duration,
    policy: RestartPolicy,
    state: State,
    restarted: bool,
}

impl Reload {
    pub(super) fn new(plan: &ExecPlan) -> Reload {
        let (spread, grace, apart) = (plan.spread.get(), plan.grace.get(), plan.restarts_apart.get());
        Reload { action: plan.on_change, spread, grace, apart, policy: plan.restart_policy, state: State::Current, restarted: false }
    }

    /// The values changed. `random` is from 0 up to 1 and says which part of the spread this pod waits. Changes that come meanwhile are met by the same act.
    pub(super) fn changed(&mut self, now: Duration, random: f64) {
        let earliest = match self.action {
            Some(OnChange::Signal(_)) => now,
            // The start counts as a restart, so that nothing has to be remembered from one to the next.
            Some(OnChange::Restart) => now.max(self.apart),
            None => return,
        };
        if self.state == State::Current {
            // Last, for replicas that started together would otherwise restart together.
            self.state = State::Due(earliest.saturating_add(self.spread.mul_f64(random.clamp(0.0, 1.0))));
        }
    }

    /// What is due, once.
    pub(super) fn act(&mut self, now: Duration) -> Option<Act> {
        match (self.action, &self.state) {
            (Some(OnChange::Signal(signal)), State::Due(due)) if *due <= now => {
                self.state = State::Current;
                Some(Act::Signal(signal))
            }
            (Some(OnChange::Restart), State::Due(due)) if *due <= now => {
                self.state = State::Ending(now.saturating_add(self.grace));
                self.restarted = true;
                Some(Act::End)
            }
            (_, State::Ending(kill)) if *kill <= now => {
                self.state = State::Killed;
                Some(Act::Kill)
            }
            _ => None,
        }
    }

    /// SIGTERM came from outside: the pod is being deleted, and its grace period is the kubelet's to watch. Returns whether the program is still to
    /// be told.
    pub(super) fn leave(&mut self) -> bool {
        let told = matches!(self.state, State::Ending(_) | State::Killed);
        self.state = State::Leaving;
        self.restarted = false;
        !told
    }

    /// The exit code, given the program's own.
    pub(super) fn exit_code(&self, of_program: u8) -> u8 {
        match (self.restarted, self.policy) {
            (false, _) => of_program,
            (true, RestartPolicy::Always) => 0,
            (true, RestartPolicy::OnFailure) => RESTARTED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUP: OnChange = OnChange::Signal(ReloadSignal::Hup);

    fn reload(on_change: Option<OnChange>, policy: RestartPolicy) -> Reload {
        let spread = "5m".parse().unwrap();
        Reload::new(&ExecPlan { on_change, spread, restart_policy: policy, ..ExecPlan::default() })
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_signal_is_sent_once_after_this_pods_part_of_the_spread() {
        let mut reload = reload(Some(HUP), RestartPolicy::Always);
        assert_eq!(reload.act(at(10)), None);
        reload.changed(at(10), 0.5);
        assert_eq!((reload.act(at(159)), reload.act(at(160)), reload.act(at(161))), (None, Some(Act::Signal(ReloadSignal::Hup)), None));
        reload.changed(at(200), 0.0);
        assert_eq!(reload.act(at(200)), Some(Act::Signal(ReloadSignal::Hup)));
        assert_eq!(reload.exit_code(7), 7);
    }

    #[test]
    fn changes_while_one_waits_are_one() {
        let mut reload = reload(Some(HUP), RestartPolicy::Always);
        reload.changed(at(10), 0.5);
        reload.changed(at(150), 0.9);
        assert_eq!((reload.act(at(160)), reload.act(at(1_000))), (Some(Act::Signal(ReloadSignal::Hup)), None));
    }

    #[test]
    fn two_changes_within_ten_minutes_are_one_restart_and_replicas_are_apart_then_too() {
        for (random, due) in [(0.0, 600), (0.1, 630), (0.5, 750)] {
            let mut reload = reload(Some(OnChange::Restart), RestartPolicy::Always);
            reload.changed(at(60), random);
            reload.changed(at(300), 0.0);
            assert_eq!((reload.act(at(due - 1)), reload.act(at(due)), reload.act(at(due + 1))), (None, Some(Act::End), None));
        }
    }

    #[test]
    fn later_changes_wait_for_the_spread_alone() {
        let mut reload = reload(Some(OnChange::Restart), RestartPolicy::Always);
        reload.changed(at(5_000), 0.5);
        assert_eq!((reload.act(at(5_149)), reload.act(at(5_150))), (None, Some(Act::End)));
    }

    #[test]
    fn a_program_that_does_not_end_is_killed_after_the_grace() {
        let mut reload = reload(Some(OnChange::Restart), RestartPolicy::Always);
        reload.changed(at(5_000), 0.0);
        assert_eq!(reload.act(at(5_000)), Some(Act::End));
        assert_eq!((reload.act(at(5_029)), reload.act(at(5_030)), reload.act(at(5_031))), (None, Some(Act::Kill), None));
        reload.changed(at(5_032), 0.0);
        assert_eq!(reload.act(at(9_999)), None);
    }

    #[test]
    fn the_exit_code_of_a_restart_makes_the_kubelet_start_the_container_again() {
        for (policy, expected) in [(RestartPolicy::Always, 0), (RestartPolicy::OnFailure, RESTARTED)] {
            let mut reload = reload(Some(OnChange::Restart), policy);
            reload.changed(at(5_000), 0.0);
            assert_eq!(reload.exit_code(3), 3, "it ended before it was asked to");
            assert_eq!(reload.act(at(5_000)), Some(Act::End));
            assert_eq!((reload.exit_code(3), reload.exit_code(0), reload.exit_code(143)), (expected, expected, expected));
        }
    }

    #[test]
    fn the_exit_code_of_a_restart_has_no_other_meaning_and_is_documented() {
        use crate::report;
        let taken = keyvault_client::Class::ALL.into_iter().map(report::exit_code).chain([0, report::UNUSABLE, 101, 126, 127]);
        assert!(RESTARTED < 128 && taken.into_iter().all(|code| code != RESTARTED));
        assert!(include_str!("../../../../docs/environment.md").contains(&format!("\n| {RESTARTED} | ended for new values")));
        assert!(crate::arguments::help().contains(&format!("\n  {RESTARTED}  ended for new values")));
    }

    #[test]
    fn the_end_of_the_pod_wins_over_a_restart() {
        let mut waiting = reload(Some(OnChange::Restart), RestartPolicy::OnFailure);
        waiting.changed(at(5_000), 0.5);
        assert!(waiting.leave());
        waiting.changed(at(5_001), 0.0);
        assert_eq!((waiting.act(at(99_999)), waiting.exit_code(3)), (None, 3));

        let mut ending = reload(Some(OnChange::Restart), RestartPolicy::OnFailure);
        ending.changed(at(5_000), 0.0);
        assert_eq!(ending.act(at(5_000)), Some(Act::End));
        assert!(!ending.leave(), "a second SIGTERM makes some programs give up what they are finishing");
        assert_eq!((ending.act(at(99_999)), ending.exit_code(3)), (None, 3));
    }

    #[test]
    fn without_an_action_nothing_happens() {
        let mut reload = reload(None, RestartPolicy::Always);
        reload.changed(at(5_000), 0.0);
        assert_eq!(reload.act(at(99_999)), None);
    }
}
