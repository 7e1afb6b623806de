/** Where a domain is, as virsh tells it: a state, `absent`; undefined when the hypervisor does not answer. */
export interface Whereabouts {
  readonly here: string | undefined;
  readonly there: string | undefined;
}

/**
 * `arrived`: it is there as it was here, and not here. `stayed`: it is here as it was. `halted`: it is paused here, as
 * libvirt leaves it when it cannot tell whether the destination has it. `unclear`: a person has to look.
 */
export type Ending = 'arrived' | 'stayed' | 'halted' | 'unclear';

/** Of a migration of a domain that was in `state`, `running` or `paused`, before. Pure. */
export function endingOf(state: string, { here, there }: Whereabouts): Ending {
  if (there === state && (here === 'absent' || here === 'shut off')) return 'arrived';
  // One that is still being taken back there is paused, and not what it was here.
  if (here === state && there !== state) return 'stayed';
  if (here === 'paused' && there !== 'running' && there !== state) return 'halted';
  return 'unclear';
}
