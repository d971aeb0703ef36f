//! What is remembered of suspects: bounded, and nothing of any other pod.

use std::collections::{HashMap, HashSet, VecDeque};

use kube::api::ObjectMeta;

/// How many pods are remembered. Those beyond wait until half of the room is free.
const ROOM: usize = 10_000;

/// Suspects by uid, and those of them who wait for their examination.
#[derive(Default)]
pub(super) struct Memory {
    pods: HashMap<Box<str>, Remembered>,
    waiting: VecDeque<Box<str>>,
    list: u32,
    overflowed: bool,
    present: usize,
}

struct Remembered {
    namespace: Box<str>,
    name: Box<str>,
    finding: Finding,
    /// The last list of all pods that had it.
    list: u32,
}

#[derive(Clone, Copy, PartialEq)]
enum Finding {
    Waiting,
    Cleared,
    SlippedThrough,
}

/// A pod to be examined.
#[derive(Debug, PartialEq)]
pub(super) struct Suspect {
    pub(super) uid: Box<str>,
    pub(super) namespace: Box<str>,
    pub(super) name: Box<str>,
}

impl Memory {
    /// Remembers a suspect, who waits if it is new.
    pub(super) fn add(&mut self, meta: &ObjectMeta) {
        let (Some(uid), Some(namespace), Some(name)) = (&meta.uid, &meta.namespace, &meta.name) else { return };
        if let Some(known) = self.pods.get_mut(uid.as_str()) {
            known.list = self.list;
        } else if self.pods.len() >= ROOM {
            self.overflowed = true;
        } else {
            let (namespace, name) = (namespace.as_str().into(), name.as_str().into());
            self.pods.insert(uid.as_str().into(), Remembered { namespace, name, finding: Finding::Waiting, list: self.list });
            self.waiting.push_back(uid.as_str().into());
            if self.waiting.len() > 2 * ROOM {
                self.waiting.retain(|uid| self.pods.contains_key(uid));
            }
        }
    }

    /// A pod that is gone, or no suspect any more; gives back whether it was remembered.
    pub(super) fn forget(&mut self, uid: &str) -> bool {
        let known = self.pods.remove(uid);
        if known.as_ref().is_some_and(|pod| pod.finding == Finding::SlippedThrough) {
            self.present -= 1;
        }
        known.is_some()
    }

    /// A list of all pods begins.
    pub(super) fn list_begins(&mut self) {
        self.list = self.list.wrapping_add(1);
        self.overflowed = false;
    }

    /// It has ended: who was not in it is gone.
    pub(super) fn list_ends(&mut self) {
        let list = self.list;
        self.keep(|pod| pod.list == list);
    }

    /// Keeps pods of these namespaces only.
    pub(super) fn keep_namespaces(&mut self, namespaces: &HashSet<Box<str>>) {
        self.keep(|pod| namespaces.contains(&pod.namespace));
    }

    fn keep(&mut self, stays: impl Fn(&Remembered) -> bool) {
        self.pods.retain(|_, pod| stays(pod));
        self.present = self.pods.values().filter(|pod| pod.finding == Finding::SlippedThrough).count();
    }

    /// The next to be examined.
    pub(super) fn next(&mut self) -> Option<Suspect> {
        while let Some(uid) = self.waiting.pop_front() {
            if let Some(pod) = self.pods.get(&uid).filter(|pod| pod.finding == Finding::Waiting) {
                return Some(Suspect { namespace: pod.namespace.clone(), name: pod.name.clone(), uid });
            }
        }
        None
    }

    /// The examination failed: it comes again, after the others.
    pub(super) fn postpone(&mut self, suspect: Suspect) {
        self.waiting.push_back(suspect.uid);
    }

    /// What the examination found.
    pub(super) fn settle(&mut self, suspect: &Suspect, slipped_through: bool) {
        let Some(pod) = self.pods.get_mut(&suspect.uid).filter(|pod| pod.finding == Finding::Waiting) else { return };
        pod.finding = if slipped_through { Finding::SlippedThrough } else { Finding::Cleared };
        self.present += usize::from(slipped_through);
    }

    /// How many are known to have slipped through, and are still there.
    pub(super) fn present(&self) -> usize {
        self.present
    }

    /// Whether some were turned away for whom there is room now.
    pub(super) fn has_room_again(&self) -> bool {
        self.overflowed && self.pods.len() <= ROOM / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(namespace: &str, name: &str) -> ObjectMeta {
        let uid = Some(format!("uid-of-{name}"));
        ObjectMeta { namespace: Some(namespace.to_owned()), name: Some(name.to_owned()), uid, ..ObjectMeta::default() }
    }

    fn next(memory: &mut Memory) -> Option<String> {
        memory.next().map(|suspect| suspect.name.into())
    }

    #[test]
    fn each_suspect_is_examined_once() {
        let mut memory = Memory::default();
        for name in ["a", "b", "a"] {
            memory.add(&meta("payments", name));
        }
        let (first, second) = (memory.next().unwrap(), memory.next().unwrap());
        assert_eq!((first.name.as_ref(), second.name.as_ref()), ("a", "b"));
        memory.settle(&first, true);
        memory.settle(&second, false);
        memory.add(&meta("payments", "a"));
        memory.add(&meta("payments", "b"));
        assert_eq!((next(&mut memory), memory.present()), (None, 1));
        memory.forget("uid-of-a");
        assert_eq!(memory.present(), 0);
    }

    #[test]
    fn who_vanishes_while_it_waits_is_not_examined() {
        let mut memory = Memory::default();
        for name in ["a", "b", "c"] {
            memory.add(&meta(name, name));
        }
        memory.forget("uid-of-a");
        memory.keep_namespaces(&HashSet::from(["c".into()]));
        assert_eq!((next(&mut memory).as_deref(), next(&mut memory)), (Some("c"), None));
    }

    #[test]
    fn a_failed_examination_comes_again_after_the_others() {
        let mut memory = Memory::default();
        memory.add(&meta("payments", "a"));
        memory.add(&meta("payments", "b"));
        let first = memory.next().unwrap();
        memory.postpone(first);
        assert_eq!([next(&mut memory), next(&mut memory), next(&mut memory)], [Some("b".to_owned()), Some("a".to_owned()), None]);
    }

    #[test]
    fn who_is_missing_in_a_list_of_all_is_gone() {
        let mut memory = Memory::default();
        for name in ["a", "b"] {
            memory.add(&meta("payments", name));
            let suspect = memory.next().unwrap();
            memory.settle(&suspect, true);
        }
        memory.list_begins();
        memory.add(&meta("payments", "b"));
        assert_eq!(memory.present(), 2, "half a list is none");
        memory.list_ends();
        assert_eq!(memory.present(), 1);
        assert_eq!(next(&mut memory), None);
    }

    #[test]
    fn a_flood_is_bounded_and_the_rest_comes_when_there_is_room() {
        let mut memory = Memory::default();
        for index in 0..ROOM + 5 {
            memory.add(&meta("payments", &index.to_string()));
        }
        assert_eq!((memory.pods.len(), memory.waiting.len()), (ROOM, ROOM));
        for index in 0..ROOM / 2 {
            assert!(!memory.has_room_again());
            memory.forget(&format!("uid-of-{index}"));
        }
        assert!(memory.has_room_again());
        memory.list_begins();
        assert!(!memory.has_room_again(), "it is being listed");
    }

    #[test]
    fn pods_that_come_and_go_before_their_turn_leave_nothing_behind() {
        let mut memory = Memory::default();
        memory.add(&meta("payments", "first"));
        for index in 0..5 * ROOM {
            let name = index.to_string();
            memory.add(&meta("payments", &name));
            memory.forget(&format!("uid-of-{name}"));
        }
        assert!(memory.waiting.len() <= 2 * ROOM && memory.pods.len() == 1);
        assert_eq!((next(&mut memory).as_deref(), next(&mut memory)), (Some("first"), None));
    }
}
