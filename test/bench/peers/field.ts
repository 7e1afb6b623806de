/** What is compared takes turns in each round, and who begins changes from round to round. */
import { say } from '../progress.js';
import type { TargetName } from '../targets.js';
import { reason } from './reason.js';

export type PerTarget<T> = Partial<Record<TargetName, T>>;

/** One whose client fails is out from then on; a failure of one of `own` is ours, and ends all. */
export class Field<Name extends string, Member extends { readonly name: Name }> {
  private readonly out = new Set<Name>();

  constructor(
    private readonly members: readonly Member[],
    private readonly own: readonly Name[],
  ) {}

  /** One round of something; those for which it gives nothing are not in the result. */
  async round<T>(
    run: number,
    one: (member: Member) => Promise<T | undefined>,
  ): Promise<Partial<Record<Name, T>>> {
    const results: Partial<Record<Name, T>> = {};
    for (let turn = 0; turn < this.members.length; turn++) {
      const member = this.members[(turn + run) % this.members.length]!;
      if (this.out.has(member.name)) continue;
      try {
        const result = await one(member);
        if (result !== undefined) results[member.name] = result;
      } catch (error) {
        if (this.own.includes(member.name)) throw error;
        say(`left out from now on: ${member.name} (${reason(error)})`);
        this.out.add(member.name);
      }
    }
    return results;
  }
}
