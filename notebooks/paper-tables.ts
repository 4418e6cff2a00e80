// %% [markdown]
// # The paper's tables
//
// The printed numbers as data, with their source and how sure it is, and beside them what this project measured at nano size. The two columns belong to different models, pictures
// and scales: only trends within a column can be compared, and the state of a row says whether they agree.

// %%
import { aqFrom, comparisonOf, latencyFigure, paperTable, paperTableNames, sweepFigure } from 'dreamllm';
aqFrom(paperTableNames().map((name) => ({ table: name, ...comparisonOf(name).states })));

// %% [markdown]
// A row is `reproduced trend`, `within noise` or `contrary` only where a sweep with several seeds stands behind it; `reference row` is what others are compared with; `not run` is said where
// there is no counterpart.
//
// ## Synergy (Table 3)

// %%
comparisonOf('table3_synergy_ablation').rows;

// %%
comparisonOf('table3_synergy_ablation').notes;

// %% [markdown]
// ## Number of dream queries (Table 9a)
//
// The paper's best is 64; nano's default of 16 stands for it, half and double beside it.

// %%
comparisonOf('table9a_dream_query_count').rows;

// %% [markdown]
// ## Text to image (Table 2)
//
// FID on photographs by Inception's own features: no number here may stand beside one of the emoji world.

// %%
paperTable('table2_text2image_fid').select('method', 'benchmark', 'value', 'confidence');

// %% [markdown]
// ## Latency (Table 9b)
//
// Latency grows with the number of steps, and the language model adds a constant.

// %%
latencyFigure();

// %% [markdown]
// The same at nano size, where the sweep has been run:

// %%
sweepFigure('latency', 'seconds');

// %% [markdown]
// ## Comprehension (Tables 1 and 5)

// %%
comparisonOf('table5_mmbench').rows;

// %%
comparisonOf('table1_comprehension').rows;
