"""Running a file of requests: the OpenAI Batch format in and out, line for line.

A run needs no journal. Every line's job id is derived from the application, the run id, the line's number
and its `custom_id`; what stands in the output files is done, and what is submitted again is paid once.
"""
