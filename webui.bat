@echo off
rem Starts the program: webui.bat [flags]          Runs its tests: webui.bat test [pytest arguments]
rem PYTHON=C:\path\to\python.exe chooses the interpreter; COMMANDLINE_ARGS may hold flags.
setlocal
cd /d "%~dp0"

set "LAUNCH="
if defined PYTHON call :try "%PYTHON%"
if not defined LAUNCH call :try py -3.12
if not defined LAUNCH call :try py -3.11
if not defined LAUNCH call :try py -3.13
if not defined LAUNCH call :try python
if not defined LAUNCH (
    echo Python 3.11, 3.12 or 3.13 was not found: install one from python.org, or name it in PYTHON.>&2
    exit /b 1
)
%LAUNCH% tools\launcher.py %*
exit /b %errorlevel%

:try
%* -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))" >nul 2>&1 && set "LAUNCH=%*"
exit /b 0
