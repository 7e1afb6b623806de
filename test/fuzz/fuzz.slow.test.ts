// deadline: 300 s
/** A minute of fuzzing, as `npm run fuzz` does it; SEED repeats one. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { operationOf } from '../../src/wire/sheepdog.js';
import { runCampaign } from './campaign.js';

test('a minute of wrong, cut, slow and mad streams neither stops a sheep nor touches another volume', async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  const print = (line: string): void => void process.stdout.write(`${line}\n`);
  const { failure, coverage } = await runCampaign({ seconds: 60, seed, print });
  assert.is(failure, undefined, `seed ${seed}`);
  const named = Array.from({ length: 256 }, (_, opcode) => opcode).filter((opcode) => operationOf(opcode));
  assert.equal(coverage.gaps(named), { neverSent: [], neverAnswered: [] });
});

test.run();
