// %% [markdown]
// # The paper's tables
//
// The printed numbers as data, with their source and how sure it is. They belong to a 7B model on photographs; nothing here is compared with nano's numbers but trends.

// %%
import { paperTable, paperTableNames } from 'dreamllm';
paperTableNames();

// %%
paperTable('table3_synergy_ablation').select('method', 'benchmark', 'metric', 'value', 'confidence');

// %%
paperTable('table9a_dream_query_count').select('benchmark', 'metric', 'value', 'confidence');

// %%
paperTable('table2_text2image_fid').select('method', 'benchmark', 'value', 'confidence');

// %% [markdown]
// Latency grows with the number of steps, and the language model adds a constant.

// %%
import { latencyFigure } from 'dreamllm';
latencyFigure();
