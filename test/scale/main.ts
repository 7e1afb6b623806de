/**
 * `npm run scale`: figures of large clusters and of many volumes, as Markdown. See README.md for what they say and what
 * not.
 *
 *     npm run scale -- --only calculations
 *     npm run scale -- --only volumes --cases list,chain --largest 3000
 */
import { parseArgs } from 'node:util';
import { reportCalculations } from './calculations.js';
import { caseNames, reportVolumes } from './volumes/report.js';

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    cases: { type: 'string', default: caseNames.join(',') },
    largest: { type: 'string', default: 'Infinity' },
  },
});
if (values.only !== 'volumes') await reportCalculations();
if (values.only !== 'calculations') await reportVolumes(values.cases.split(','), Number(values.largest));
