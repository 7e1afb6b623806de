// deadline: 7200 s
import { test } from 'uvu';
import { assertCaught } from '../sim/catch.js';
import { sheepMutants } from '../sim/sheep-mutants.js';

// Those that take long to be noticed; see sim-mutants.test.ts.
for (const mutant of sheepMutants) {
  if (!mutant.quick)
    test(`the simulator catches ${mutant.name} (${mutant.breaks})`, () => assertCaught(mutant));
}

test.run();
