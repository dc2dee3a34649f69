//! The controller of OpaqueClusters against a real API server, with the real controllers of
//! StatefulSets and PodDisruptionBudgets. There is no kubelet: the tests place pods, write their
//! status, and end them. Each test has a separate namespace and operator.

mod drift;
mod harness;
mod kubelet;
mod life;
mod missing;
mod repair;
mod rollout;
mod size;
