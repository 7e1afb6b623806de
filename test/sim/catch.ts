/** Whether the simulator notices a mutant, for tests. */
import * as assert from 'uvu/assert';
import { sheepKind } from './sheep.js';
import type { SheepMutant } from './sheep-mutants.js';
import { runSeed } from './swarm.js';

export async function assertCaught({ name, seeds, needs = {} }: SheepMutant): Promise<void> {
  for (let seed = 1; seed <= seeds; seed++) {
    const result = await runSeed({ kind: sheepKind, seed, mutants: { [name]: true }, config: needs });
    if (result.failure === undefined) continue;
    // What fails without the deliberate bug has not noticed it.
    const sound = await runSeed({ kind: sheepKind, seed, config: needs });
    if (sound.failure === undefined) return;
  }
  assert.unreachable(`${name} survived ${seeds} seeds`);
}
